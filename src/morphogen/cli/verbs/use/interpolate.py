"""The verb interpolate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import BatchSize, Device, Json, Model, N, Overwrite, Threads
from morphogen.cli.outputs import PICTURE, Output, emit, keep, require_pictures

EXAMPLE = "morphogen interpolate runs/first --data digits --n 4 --steps 10 --out between.gif"


def interpolate(
    model: Model,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE.png|.jpg|.webp|.gif|.npz", help="A sheet, an animation, or arrays.")
    ],
    data: Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="Where the records come from.")] = None,
    between: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--between", metavar="A B", help="Two pictures of your own, in the place of data."),
    ] = None,
    n: N = 8,
    steps: Annotated[int, typer.Option("--steps", min=2, help="How many pictures from one to the other.")] = 8,
    split: Annotated[str | None, typer.Option("--split", help="Of the data; test by default.")] = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Walk in latent space between pairs of held-out records, or two pictures: a row, or an animation, for each."""
    target = Output.parse(out, [*PICTURE, ".gif", ".npz"], overwrite)
    with busy("interpolating"):
        held = hold(model, device, threads)
        found = held.interpolate(data, n, between=between, steps=steps, batch_size=batch_size, split=split)
    if target.format == ".gif":
        target.write(_animated(found, steps))
    else:
        ends = {"data": data} if between is None else {"between": [str(path) for path in between]}
        recipe = {"verb": "interpolate", "model": str(model), **ends, "steps": steps}
        keep(target, found, recipe, arrays={"x": found.x, "id": found.ids})
    emit(target, {"n": len(found) // steps}, json)


def _animated(found: Any, steps: int) -> bytes:
    """All pairs at once, there and back again."""
    from morphogen.report.animations import animation
    from morphogen.report.sheets import sheet

    require_pictures(found.spec)
    x = found.pixels
    walks = x.reshape(-1, steps, *x.shape[1:])
    there = [sheet(walks[:, i]) for i in range(steps)]
    return animation([*there, *there[-2:0:-1]], frames_per_second=8, hold_s=0)
