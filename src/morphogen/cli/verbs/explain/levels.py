"""The verb levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import BatchSize, Data, Device, Json, Model, N, Overwrite, Threads
from morphogen.cli.outputs import PICTURE, Output, emit, keep

if TYPE_CHECKING:
    from PIL.Image import Image

    from morphogen.api import Reconstructions

EXAMPLE = "morphogen levels runs/hierarchical --data digits --out levels.png"


def levels(
    model: Model,
    data: Data,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|.jpg|.webp|.npz", help="A sheet, or arrays.")],
    n: N = 12,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Show what each level of latents knows: held-out records, rebuilt from their first 0, 1, 2 ... groups of latents.

    For hierarchical models.
    """
    target = Output.parse(out, [*PICTURE, ".npz"], overwrite)
    with busy("rebuilding"):
        found = hold(model, device, threads).levels(data, n, batch_size=batch_size)
    arrays = {"original": found.original.x, "levels": found.made.x, "id": found.original.ids}
    recipe = {"verb": "levels", "model": str(model), "data": data}
    keep(target, found, recipe, arrays=arrays, image=lambda: _rows(found))
    emit(target, {"n": len(found.original)}, json)


def _rows(found: Reconstructions) -> Image:
    """The originals, and below them a row for each number of groups."""
    import numpy as np

    from morphogen.report.sheets import sheet

    above, below = found.original.pixels, found.made.pixels
    labels = ["original", *(f"{k} group{'s' * (k != 1)}" for k in range(len(below) // len(above)))]
    return sheet(np.concatenate((above, below)), columns=len(above), row_labels=labels)
