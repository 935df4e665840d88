"""The verb audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphogen import MorphogenError, UsageError
from morphogen.cli.console import print_table, print_text
from morphogen.cli.models import hold
from morphogen.cli.options import Data, Device, Json, Model, Overwrite, Seed, Threads
from morphogen.cli.outputs import FOLDER, Output, emit
from morphogen.cli.verbs.judge.results import read_names
from morphogen.report.tables import AUDIT_HEADERS, audit_rows

EXAMPLE = "morphogen audit runs/first --data digits --only privacy --out runs/audit/"


def audit(
    model: Model,
    data: Data,
    out: Annotated[str, typer.Option("--out", metavar="DIR/", help="The report, and models that are trained for it.")],
    only: Annotated[
        str | None, typer.Option("--only", metavar="CHECK,...", help="privacy, memorization; both by default.")
    ] = None,
    references: Annotated[
        int,
        typer.Option("--references", metavar="K", min=0, help="Reference models of the likelihood ratio: 2, 4, ..."),
    ] = 0,
    canaries: Annotated[
        int, typer.Option("--canaries", metavar="M", min=0, help="Random records, half of them planted in a training.")
    ] = 0,
    samples: Annotated[int | None, typer.Option("--samples", metavar="N", min=1, help="Records that it draws.")] = None,
    split: Annotated[str, typer.Option("--split", help="Real records that were not trained on.")] = "test",
    n: Annotated[int, typer.Option("--n", min=1, help="Records of either kind, at most.")] = 1000,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Attack a model: who was it trained on, and does a claim of privacy hold; a refuted claim is an error.

    Trainings that were interrupted go on in the same --out.
    """
    target = _folder(out, overwrite)
    found = hold(model, device, threads).audit(
        data,
        read_names(only),
        out=target.path,
        references=references,
        canaries=canaries,
        samples=samples,
        split=split,
        n=n,
        seed=seed,
    )
    facts = found.to_dict()
    if not json:
        print_table(AUDIT_HEADERS, audit_rows(result.to_dict() for result in found.results))
        print_text(*(f"left out {part}: {why}" for part, why in found.left_out.items()))
    said = [warning for warning in found.warnings if warning not in found.violations]
    emit(target, facts, json, warnings=said)
    if found.violations:
        raise MorphogenError(" ".join(found.violations))


def _folder(out: str, overwrite: bool) -> Output:
    """The folder of the report. One that holds trainings of an audit is gone on in. Raises `UsageError`."""
    path = Path(out)
    if (path / "audit.json").exists() and not overwrite:
        raise UsageError(f"--out {out} holds an audit: choose another folder, or add --overwrite to replace it.")
    return Output(path, FOLDER) if path.is_dir() else Output.parse(out, [FOLDER], overwrite)
