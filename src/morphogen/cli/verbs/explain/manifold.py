"""The verb manifold."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import BatchSize, Device, Json, Model, Overwrite, Threads
from morphogen.cli.outputs import PICTURE, Output, emit, keep

EXAMPLE = "morphogen manifold runs/plane --n 20 --out plane.png"


def manifold(
    model: Model,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|.jpg|.webp|.npz", help="A sheet, or arrays.")],
    n: Annotated[int, typer.Option("--n", min=2, help="How many places in each direction.")] = 20,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Decode the whole latent plane of a model with two latents, such as `train vae --preset classic` makes."""
    target = Output.parse(out, [*PICTURE, ".npz"], overwrite)
    with busy("decoding"):
        found = hold(model, device, threads).manifold(n, batch_size=batch_size)
    keep(target, found, {"verb": "manifold", "model": str(model)}, arrays={"x": found.x})
    emit(target, {"n": len(found)}, json)
