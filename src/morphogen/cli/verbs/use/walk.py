"""The verb walk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import (
    BatchSize,
    Candidates,
    Class,
    Device,
    Grid,
    Guidance,
    Json,
    Model,
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
from morphogen.cli.outputs import PICTURE, Output, emit, keep, require_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

    from morphogen.api import Pictures

EXAMPLE = "morphogen walk runs/first --frames 48 --stops 4 --out walk.gif"


def walk(
    model: Model,
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE.gif|.apng|.png|.jpg|.webp|.npz", help="An animation, a sheet, or arrays."),
    ],
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=2, help="Pictures in all.")] = 96,
    stops: Annotated[int, typer.Option("--stops", metavar="K", min=2, help="Samples that it leads through.")] = 6,
    fps: Annotated[float, typer.Option("--fps", metavar="F", min=0.1, max=50, help="Pictures a second.")] = 16.0,
    seed: Seed = 0,
    label: Class = None,
    text: Text = None,
    temperature: Temperature = None,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    truncation: Truncation = None,
    candidates: Candidates = None,
    guidance: Guidance = None,
    precision: Precision = "fp32",
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Walk through samples of a model that turn into each other, and at the end into the first one.

    Its stops are the first samples of the seed.
    """
    target = Output.parse(out, [".gif", ".apng", *PICTURE, ".npz"], overwrite)
    if frames < stops:
        raise UsageError(f"a walk through {stops} stops needs at least as many frames: --frames {frames}.")
    how: dict[str, Any] = {"truncation": truncation, "temperature": temperature, "stepper": stepper, "steps": steps}
    how |= {"guidance": guidance, "grid": grid, "candidates": candidates, "precision": precision}
    with busy("walking"):
        made = hold(model, device, threads).walk(
            frames, stops, seed, label=label, text=text, batch_size=batch_size, **how
        )
    if target.format in (".gif", ".apng"):
        target.write(_animated(made, target.format, fps))
    else:
        recipe = {"verb": "walk", "model": str(model), "frames": frames, "stops": stops, "seed": seed}
        recipe |= {"class": label, "text": text, **how}
        arrays = {"x": made.x, "stops": stops, "seed": seed}
        keep(target, made, recipe, arrays=arrays, image=lambda: _sheet(made, frames, stops))
    emit(target, {"frames": frames, "stops": stops}, json, warnings=made.warnings)


def _sheet(made: Pictures, frames: int, stops: int) -> Image:
    """A row from each stop to the next, where they are equally long."""
    from morphogen.report.sheets import sheet

    require_pictures(made.spec)
    return sheet(made.pixels, columns=frames // stops if frames % stops == 0 else None)


def _animated(made: Pictures, suffix: str, fps: float) -> bytes:
    from morphogen.report.animations import animation
    from morphogen.report.sheets import sheet

    require_pictures(made.spec)
    x = made.pixels
    return animation([sheet(x[i : i + 1]) for i in range(len(x))], suffix=suffix, frames_per_second=fps, hold_s=0)
