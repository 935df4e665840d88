"""The verb variances."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import BatchSize, Data, Device, Grid, Json, Model, Overwrite, Seed, Steps, Threads
from morphogen.cli.outputs import PICTURE, Output, emit, keep

EXAMPLE = "morphogen variances runs/first --data digits --out variances.png"


def variances(
    model: Model,
    data: Data,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|.jpg|.webp|.npz", help="A plot, or arrays.")],
    n: Annotated[int, typer.Option("--n", min=2, help="How many records to average over.")] = 256,
    steps: Steps = None,
    grid: Grid = None,
    seed: Seed = 0,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Plot the learned variance of the reverse chain between its two bounds, beside what it should be."""
    target = Output.parse(out, [*PICTURE, ".npz"], overwrite)
    with busy("measuring"):
        found = hold(model, device, threads).variances(
            data, n, steps=steps, grid=grid, seed=seed, batch_size=batch_size
        )
    recipe = {"verb": "variances", "model": str(model), "data": data, "n": n, "steps": steps, "grid": grid}
    keep(target, found, {**recipe, "seed": seed})
    emit(target, {"n": found.n, "strides": len(found.t)}, json)
