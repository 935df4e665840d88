"""The verb directions."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy, print_table
from morphogen.cli.models import hold
from morphogen.cli.options import BatchSize, Device, Json, Model, Overwrite, Threads
from morphogen.cli.outputs import Output, emit, keep
from morphogen.report.tables import MISSING, number, span

EXAMPLE = "morphogen directions runs/faces --data faces --out directions.npz"


def directions(
    model: Model,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="Also those of its classes and attributes.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE.npz", help="Keep them, for edit-latent.")] = None,
    factors: Annotated[
        int, typer.Option("--factors", metavar="K", min=0, help="How many of the model's own, strongest first.")
    ] = 10,
    n: Annotated[
        int, typer.Option("--n", min=10, help="How many records are encoded; half as many more measure.")
    ] = 500,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Find directions of a model's latent space: its own, and those along which a class or an attribute changes.

    How well a direction orders records is measured on held-out ones: the share of pairs, one that has the property and
    one that lacks it, of which it puts the right one ahead. Chance is 0.5.
    """
    target = Output.parse(out, [".npz"], overwrite) if out else None
    with busy("finding directions"):
        found = hold(model, device, threads).directions(data, factors=factors, n=n, batch_size=batch_size)
    if target is not None:
        keep(target, found, {})
    pairs = [tuple(map(float, pair)) for pair in found.interval]
    rows = list(zip(found.names, map(float, found.ordered), pairs, strict=True))
    measured = [
        {"name": name, "ordered": share, "interval": pair, "n": found.n, "baseline": 0.5}
        if share == share  # not for those that no records were needed for
        else {"name": name}
        for name, share, pair in rows
    ]
    if not json:
        cells = [
            [name, number(share, pair), span(pair), number(found.n), "chance 0.5"]
            if share == share
            else [name, MISSING, MISSING, MISSING, MISSING]
            for name, share, pair in rows
        ]
        print_table(["direction", "pairs in order", "95% interval", "n", "baseline"], cells)
    emit(target, {"directions": measured}, json, warnings=found.warnings)
