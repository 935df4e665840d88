"""Verbs that judge: evaluate, verify, check."""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated

import typer

from morphogen.cli.console import Json, busy, print_fields, print_json, print_table, print_text
from morphogen.cli.outputs import Output, Overwrite

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory.")]


def evaluate(
    model: Model,
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="What to judge it on: its test records.")],
    metrics: Annotated[str | None, typer.Option("--metrics", metavar="nll,...", help="Which; all by default.")] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE.json", help="Write the results too.")] = None,
    split: Annotated[str, typer.Option("--split", help="Which records.")] = "test",
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many records; all by default.")] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Importance samples a record.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Where the noise starts.")] = 0,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure a model on held-out records; each number with its interval, n and baselines."""
    target = Output.parse(out, [".json"], overwrite) if out else None
    from morphogen import api
    from morphogen.report.tables import RESULT_HEADERS, results_rows

    names = [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None
    with busy("evaluating"):
        found = api.evaluate(model, data, names, split=split, n=n, samples=samples, seed=seed)
    if target is not None:
        target.write((json_.dumps(found, indent=2) + "\n").encode())
    if json:
        print_json(found)
    else:
        print_table(RESULT_HEADERS, results_rows(found["results"]))
        if target is not None:
            print_text(f"wrote {target.path}")


def verify(model: Model, json: Json = False) -> None:
    """Check that a model directory is whole and unaltered, file by file."""
    from morphogen import api

    found = api.verify(model)
    if json:
        print_json(found)
    else:
        print_fields(found)


def check(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="A registered family, yours or ours.")],
    json: Json = False,
) -> None:
    """Put a family of models to the tests that every family has to pass."""
    from morphogen import api

    with busy(f"checking {family}"):
        found = api.check_family(family)
    if json:
        print_json(found)
    else:
        print_fields(found)
