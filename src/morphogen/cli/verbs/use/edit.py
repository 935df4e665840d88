"""The verb edit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import (
    BatchSize,
    Class,
    Device,
    Grid,
    Guidance,
    Image,
    Json,
    Model,
    N,
    Negative,
    Overwrite,
    Seed,
    Stepper,
    Steps,
    Text,
    Threads,
)
from morphogen.cli.outputs import FOLDER, PICTURE, Output, emit, keep

if TYPE_CHECKING:
    from PIL.Image import Image as Drawn

    from morphogen.api import Pictures

EXAMPLE = "morphogen edit runs/words room.png --mask wall.png --text 'a red wall' --n 4 --out edited.png"


def edit(
    model: Model,
    image: Image,
    out: Annotated[
        str,
        typer.Option(
            "--out", metavar="FILE.png|.jpg|.webp|.npz|DIR/", help="The picture (a sheet of several), arrays, or files."
        ),
    ],
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="FILE", help="A picture of the same size: redraw what is white.")
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", metavar="T", help="Up to 1, which forgets what is redrawn.")
    ] = 0.6,
    label: Class = None,
    text: Text = None,
    n: N = 1,
    seed: Seed = 0,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="At the picture's own size, in windows of the model's size.")
    ] = False,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    negative: Negative = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Redraw a picture, or the part of it that a mask says, by a diffusion or flow model."""
    target = Output.parse(out, [*PICTURE, ".npz", FOLDER], overwrite)
    how: dict[str, Any] = {"stepper": stepper, "steps": steps, "grid": grid, "guidance": guidance}
    asked: dict[str, Any] = {"strength": strength, "n": n, "seed": seed, "tiles": tiles}
    with busy("editing"):
        held = hold(model, device, threads)
        made = held.edit(
            image, mask=mask, label=label, text=text, negative=negative, batch_size=batch_size, **asked, **how
        )
    recipe = {"verb": "edit", "model": str(model), "image": str(image), "mask": None if mask is None else str(mask)}
    recipe |= {"class": label, "text": text, "negative": negative, **asked, **how}

    def each() -> Iterator[tuple[Drawn, Mapping[str, Any]]]:
        for i, one in enumerate(made.images):
            yield one, {**recipe, "index": i}

    arrays = {**made.arrays(), "seed": seed}
    files = each if target.format == FOLDER else None
    keep(target, made, recipe, arrays=arrays, image=lambda: _image(made), each=files)
    emit(target, {"n": n}, json, warnings=made.warnings)


def _image(made: Pictures) -> Drawn:
    """One picture as it is, or a sheet of several at their own size."""
    from morphogen.report.sheets import sheet

    return made.images[0] if len(made) == 1 else sheet(made.pixels, scale=1)
