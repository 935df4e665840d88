"""The verb impute."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import BatchSize, Device, Json, Model, Overwrite, Seed, Threads
from morphogen.cli.outputs import TABLE, Output, emit

EXAMPLE = "morphogen impute runs/patients patients.csv --draws 5 --out filled.csv"


def impute(
    model: Model,
    data: Annotated[str, typer.Argument(metavar="FILE", help="A table with missing cells, or a named one.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE.csv|.csv.gz|.tsv|.parquet", help="The filled table.")],
    draws: Annotated[
        int | None, typer.Option("--draws", metavar="K", min=1, help="Fill in K times; a column `draw` counts them.")
    ] = None,
    mean: Annotated[bool, typer.Option("--mean", help="The mean of the draws, with its spread, instead.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="A cell may stay missing, as often as in the training data.")
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Fill in the missing cells of a table, by a model that completes rows."""
    target = Output.parse(out, TABLE, overwrite)
    with busy("filling in"):
        made = hold(model, device, threads).impute(
            data, draws=draws, mean=mean, seed=seed, allow_missing=allow_missing, batch_size=batch_size
        )
    target.write_with(made.save)
    cells = [f"{name}: {count:,} cells filled in" for name, count in made.filled.items()]
    emit(target, {"filled": dict(made.filled)}, json, warnings=made.warnings, lines=cells)
