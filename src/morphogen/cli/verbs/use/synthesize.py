"""The verb synthesize."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import (
    BatchSize,
    Device,
    Json,
    Model,
    N,
    Overwrite,
    Precision,
    Seed,
    Stepper,
    Steps,
    Temperature,
    Threads,
    Truncation,
)
from morphogen.cli.outputs import TABLE, Output, emit

EXAMPLE = 'morphogen synthesize runs/patients --n 1000 --where "sex=female,age>60" --out synthetic.csv'


def synthesize(
    model: Model,
    out: Annotated[str, typer.Option("--out", metavar="FILE.csv|.csv.gz|.tsv|.parquet", help="A table.")],
    n: N = 1000,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="CONDITIONS", help="Only such rows: sex=female,age>60,site in [a, b]."),
    ] = None,
    balance: Annotated[
        str | None, typer.Option("--balance", metavar="COLUMN", help="All values of it equally often.")
    ] = None,
    seed: Seed = 0,
    allow_rare: Annotated[
        bool, typer.Option("--allow-rare", help="Also values that fewer than five training records hold.")
    ] = False,
    temperature: Temperature = None,
    stepper: Stepper = None,
    steps: Steps = None,
    truncation: Truncation = None,
    precision: Precision = "fp32",
    batch_size: BatchSize = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Write synthetic rows of a table, with the columns, types and missing cells of the original."""
    target = Output.parse(out, TABLE, overwrite)
    with busy("synthesizing"):
        made = hold(model, device, threads).synthesize(
            n,
            seed,
            where=where,
            balance=balance,
            allow_rare=allow_rare,
            temperature=temperature,
            stepper=stepper,
            steps=steps,
            truncation=truncation,
            precision=precision,
            batch_size=batch_size,
        )
    target.write_with(made.save)
    emit(target, {"n": n, "drawn": made.drawn}, json, warnings=made.warnings)
