"""The verb draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from morphogen import DataError, UsageError
from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import (
    BatchSize,
    Candidates,
    Class,
    Device,
    Exact,
    Guidance,
    Json,
    Model,
    Negative,
    Overwrite,
    Precision,
    Seed,
    Stepper,
    Steps,
    Temperature,
    Threads,
    Truncation,
)
from morphogen.cli.outputs import FOLDER, PICTURE, Output, emit, keep
from morphogen.core.printable import shortened
from morphogen.core.reading import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

    from morphogen.api import Model as Held
    from morphogen.api import Pictures

EXAMPLE = "morphogen draw runs/words 'a small red circle' --n 8 --seed 1 --out circles.png"
HOW = ("stepper", "steps", "guidance", "truncation", "candidates", "temperature")  # options of families
_SIGNS = {"guidance": "w", "seed": "seed"}  # above columns of small pictures
_LABEL = 60  # letters beside a row
MAX_BYTES = 16 << 20  # of a file of prompts


def draw(
    model: Model,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE.png|.jpg|.webp|DIR/", help="A sheet (one picture as it is), or files.")
    ],
    prompt: Annotated[
        str | None, typer.Argument(metavar="[PROMPT]", help="What to draw; (words:1.3) count more.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE.txt", help="A prompt in each line; # begins a comment.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="PROMPT", help="The way from the prompt to this one, a row of pictures."),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=2, help="Pictures on that way.")] = 8,
    grid: Annotated[
        str | None,
        typer.Option("--grid", metavar="guidance=W,...|seed=S,...", help="Prompts in rows, these in columns."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many of each prompt; 4, in a grid 1.")] = None,
    seed: Seed = 0,
    label: Class = None,
    stepper: Stepper = None,
    steps: Steps = None,
    temperature: Temperature = None,
    truncation: Truncation = None,
    candidates: Candidates = None,
    guidance: Guidance = None,
    negative: Negative = None,
    exact: Exact = False,
    precision: Precision = "fp32",
    batch_size: BatchSize = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw what a prompt says. `morphogen recall` draws the pixels of the file again.

    Where a model was trained to draw without a prompt, too, and says nothing else, guidance is 4.
    """
    target = Output.parse(out, [*PICTURE, FOLDER], overwrite)
    if (prompt is None) == (prompts is None):
        raise UsageError("draw takes a prompt, or a file of them with --prompts: give one of the two.")
    recipe: dict[str, Any] = {"verb": "draw", "model": str(model)}
    recipe |= {"prompts": _lines(prompts) if prompts is not None else [prompt], "negative": negative, "to": to}
    recipe |= {"frames": frames, "grid": _grid(grid), "n": n or (4 if grid is None else 1)}
    recipe |= {"seed": seed, "class": label, "exact": exact}
    recipe |= {"precision": precision, "stepper": stepper, "steps": steps, "guidance": guidance}
    recipe |= {"truncation": truncation, "candidates": candidates, "temperature": temperature}
    with busy("drawing"):
        held = hold(model, device, threads)
        recipe["fingerprint"] = held.fingerprint
        made = _drawn(held, recipe, batch_size)
    recipe |= made.options

    def each() -> Iterator[tuple[Image, Mapping[str, Any]]]:
        for i, image in enumerate(made.images):
            yield image, _alone(recipe, i, made.columns)

    if target.format == FOLDER:
        keep(target, made, recipe, each=each)
    else:
        recipe["index"] = 0 if len(made) == 1 else None
        keep(target, made, recipe, image=lambda: _image(made, recipe))
    emit(target, {"n": len(made), "options": dict(made.options)}, json, warnings=made.warnings)


def _drawn(model: Held, recipe: Mapping[str, Any], batch_size: int | None) -> Pictures:
    how: dict[str, Any] = {name: recipe.get(name) for name in HOW}  # older files know fewer
    said = {name: recipe[name] for name in ("negative", "to", "frames", "exact", "precision")}
    said |= {"along": recipe["grid"], "batch_size": batch_size}
    return model.draw(recipe["prompts"], recipe["n"], recipe["seed"], label=recipe["class"], **said, **how)


def drawn_again(model: Held, recipe: Mapping[str, Any], batch_size: int | None) -> Image:
    """The image that `draw` made by this recipe."""
    return _image(_drawn(model, recipe, batch_size), recipe)


def _image(made: Pictures, recipe: Mapping[str, Any]) -> Image:
    """One picture as it is, or the sheet of all, with prompts beside rows and what differs above columns."""
    from morphogen.report.sheets import sheet

    index, prompts = recipe["index"], recipe["prompts"]
    if index is not None:
        return made.images[index]
    rows = [_short(text) for text in prompts]
    columns: int | None = made.columns
    above: list[str] = []
    if recipe["grid"] is not None:
        ((along, values),) = recipe["grid"].items()
        above = [f"{_SIGNS[along]}={value:g}" for value in values]
    elif recipe["to"] is not None:
        above, rows = [f"{i / (made.columns - 1):.2g}" for i in range(made.columns)], []
    elif len(prompts) == 1:
        rows, columns = [], None
    return sheet(made.pixels, columns=columns, row_labels=rows, column_labels=above)


def _alone(recipe: Mapping[str, Any], i: int, columns: int) -> dict[str, Any]:
    """The recipe of picture `i` alone: of its own prompt, and of its own column of a grid."""
    row, column = divmod(i, columns)
    if recipe["to"] is not None:
        return {**recipe, "index": i}
    own = {**recipe, "prompts": [recipe["prompts"][row]], "index": column}
    if recipe["grid"] is not None:
        ((along, values),) = recipe["grid"].items()
        own |= {"grid": None, "n": 1, along: values[column], "index": 0}
        if own["guidance"] == 1.0:  # which leads away from nothing
            own["negative"] = None
    return own


def _short(text: str) -> str:
    return text if len(text) <= _LABEL else text[: _LABEL - 3] + "..."


def _lines(path: Path) -> list[str]:
    """The prompts of a file. Raises `DataError` where it has none."""
    try:
        lines = [line.strip() for line in read_bytes(path, MAX_BYTES).decode().splitlines()]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: expected prompts as text, one in each line ({reason}).") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise DataError(f"{path} has no prompts: each line that is not empty and does not begin with # is one.")
    return found


def _grid(text: str | None) -> dict[str, Sequence[float]] | None:
    """NAME=A,B,... as a mapping."""
    if text is None:
        return None
    along, _, values = text.partition("=")
    number = int if along.strip() == "seed" else float
    try:
        return {along.strip(): [number(value) for value in values.split(",")]}
    except ValueError:
        raise UsageError(f"--grid takes guidance=1,2,4 or seed=1,2,3 (got {shortened(text)!r}).") from None
