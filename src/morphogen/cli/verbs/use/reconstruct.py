"""The verb reconstruct."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import BatchSize, Data, Device, Json, Model, N, Overwrite, Threads
from morphogen.cli.outputs import PICTURE, Output, emit, keep

EXAMPLE = "morphogen reconstruct runs/first --data digits --out reconstructions.png"


def reconstruct(
    model: Model,
    data: Data,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|.jpg|.webp|.npz", help="A sheet, or arrays.")],
    n: N = 16,
    split: Annotated[str | None, typer.Option("--split", help="Of the data; test by default.")] = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Pass held-out records through a model: originals above, reconstructions below."""
    target = Output.parse(out, [*PICTURE, ".npz"], overwrite)
    with busy("reconstructing"):
        found = hold(model, device, threads).reconstruct(data, n, batch_size=batch_size, split=split)
    keep(target, found, {"verb": "reconstruct", "model": str(model), "data": data})
    emit(target, {"n": len(found.original)}, json)
