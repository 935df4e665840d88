"""The verb sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import (
    Attributes,
    Autoguidance,
    Avoid,
    BatchSize,
    Candidates,
    Class,
    Device,
    Exact,
    Grid,
    Guidance,
    GuidanceInterval,
    Json,
    Model,
    N,
    Overwrite,
    Precision,
    Seed,
    Stepper,
    Steps,
    Temperature,
    Text,
    Threads,
    Truncation,
)
from morphogen.cli.outputs import FOLDER, PICTURE, TABLE, TEXT, Output, emit, keep

if TYPE_CHECKING:
    from PIL.Image import Image

    from morphogen.api import Model as Held
    from morphogen.api import Pictures

EXAMPLE = "morphogen sample runs/first --n 64 --seed 1 --out samples.png"
HOW = (
    "temperature",
    "stepper",
    "steps",
    "grid",
    "guidance",
    "avoid",
    "guidance_interval",
    "autoguidance",
    "truncation",
    "candidates",
)


def sample(
    model: Model,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="FILE.png|.jpg|.webp|.npz|.smi|.txt|.csv|.parquet|DIR/",
            help="A sheet, arrays, lines, rows, or files.",
        ),
    ],
    n: N = 64,
    seed: Seed = 0,
    label: Class = None,
    text: Text = None,
    attribute: Attributes = None,
    temperature: Temperature = None,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    truncation: Truncation = None,
    candidates: Candidates = None,
    guidance: Guidance = None,
    avoid: Avoid = None,
    guidance_interval: GuidanceInterval = None,
    autoguidance: Autoguidance = None,
    exact: Exact = False,
    precision: Precision = "fp32",
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Diffusion and flows: compile first. Pays where thousands are drawn.",
            rich_help_panel="Computing",
        ),
    ] = False,
    batch_size: BatchSize = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw new records from a model."""
    target = Output.parse(out, [*PICTURE, ".npz", *TEXT, *TABLE, FOLDER], overwrite)
    how: dict[str, Any] = {"temperature": temperature, "stepper": stepper, "steps": steps}
    how |= {"grid": grid, "guidance": guidance, "avoid": avoid, "guidance_interval": _interval(guidance_interval)}
    how |= {"autoguidance": autoguidance, "truncation": truncation, "candidates": candidates}
    with busy("sampling"):
        held = hold(model, device, threads)
        recipe: dict[str, Any] = {"verb": "sample", "model": str(model), "fingerprint": held.fingerprint, "n": n}
        recipe |= {
            "seed": seed,
            "class": label,
            "text": text,
            "attribute": attribute,
            "exact": exact,
            "precision": precision,
        }
        recipe |= {"compile": compile, **how}
        drawn = _sampled(held, recipe, batch_size)

    if target.format in TABLE:
        target.write_with(drawn.save)
        emit(target, {"n": n}, json, warnings=drawn.warnings)
        return

    def each() -> Iterator[tuple[Image, Mapping[str, Any]]]:
        for i, image in enumerate(drawn.images):
            yield image, {**recipe, "index": i}

    arrays = {**drawn.arrays(), "text": text, "seed": seed}
    files = each if target.format == FOLDER else None
    keep(target, drawn, {**recipe, "index": f"0-{n - 1}"}, arrays=arrays, each=files, plane=True)
    emit(target, {"n": n}, json, warnings=drawn.warnings)


def sampled_again(model: Held, recipe: Mapping[str, Any], batch_size: int | None) -> Image:
    """The image that `sample` made by this recipe."""
    drawn, index = _sampled(model, recipe, batch_size), recipe["index"]
    return drawn.images[index] if isinstance(index, int) else drawn.image()


def _sampled(model: Held, recipe: Mapping[str, Any], batch_size: int | None) -> Pictures:
    how: dict[str, Any] = {name: recipe.get(name) for name in HOW}  # older files know fewer
    said = {name: recipe[name] for name in ("text", "exact", "precision")}
    said |= {"attributes": recipe.get("attribute"), "compile": recipe.get("compile", False), "batch_size": batch_size}
    return model.sample(recipe["n"], recipe["seed"], label=recipe["class"], **said, **how)


def _interval(text: str | None) -> tuple[float, float] | None:
    """A,B as two numbers."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--guidance-interval takes two times, such as 0.2,0.8 (got {text!r}).") from None
    return low, high
