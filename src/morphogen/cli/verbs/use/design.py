"""The verb design."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphogen import UsageError
from morphogen.cli.console import busy, print_table
from morphogen.cli.models import hold
from morphogen.cli.options import Device, Json, Model, Overwrite, Seed, Threads
from morphogen.cli.outputs import FOLDER, Output, emit

EXAMPLE = 'morphogen design runs/molecules --want "qed>=0.9, logp in 2..3" --calls 500 --out runs/design/'
SHOWN = 10
ANSWERS = "calls.jsonl"  # of the oracle, as they came


def design(
    model: Model,
    want: Annotated[str, typer.Option("--want", metavar='"qed>=0.9, ..."', help="Wanted properties.")] = "",
    out: Annotated[str, typer.Option("--out", metavar="DIR/", help="Results, and answers to go on from.")] = "design/",
    calls: Annotated[int, typer.Option("--calls", metavar="N", min=1, help="Oracle calls, at most.")] = 2000,
    method: Annotated[
        str | None, typer.Option("--method", metavar="NAME", help="latents, tuning or neighbors.")
    ] = None,
    similar_to: Annotated[
        str | None, typer.Option("--similar-to", metavar="SMILES>=0.4", help="A molecule to be like.")
    ] = None,
    keep: Annotated[str | None, typer.Option("--keep", metavar="SCAFFOLD", help="What each must contain.")] = None,
    oracle: Annotated[
        str | None, typer.Option("--oracle", metavar="MODULE:FUNCTION", help="Your own, from SMILES to a number.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="The longest that a call of it may take.")] = 60.0,
    data: Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="Known molecules.")] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="SMILES", help="A molecule to begin at.")] = None,
    safety: Annotated[
        bool, typer.Option("--safety/--no-safety", help="Leave out chemical weapons and controlled classes.")
    ] = True,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Search for molecules with wanted properties; every oracle call is counted, and a stopped design goes on."""
    target = _target(out, overwrite)
    with busy("designing"):
        found = hold(model, device, threads).design(
            want,
            target.path,
            calls=calls,
            method=method,
            similar_to=_similar(similar_to),
            keep=keep,
            oracle=oracle,
            seconds=seconds,
            data=data,
            start=start,
            seed=seed,
            safety=safety,
        )
    if not json:
        rows = [[f"{m.score:.3f}", m.smiles, *(f"{k} {v:.3g}" for k, v in m.values.items())] for m in found.molecules]
        width = max(map(len, rows), default=2)
        print_table(
            ["score", "molecule", *[""] * (width - 2)], [row + [""] * (width - len(row)) for row in rows[:SHOWN]]
        )
    said = f"{found.met:,} molecules meet every want, after {found.calls[0]:,} oracle calls"
    emit(target, found.to_dict(), json, warnings=found.warnings, lines=[said])


def _target(out: str, overwrite: bool) -> Output:
    """The folder to write. One that holds the answers of a design that was stopped is gone on in."""
    place = Path(out)
    if not (place / ANSWERS).is_file():
        return Output.parse(out, [FOLDER], overwrite)
    if not overwrite and (place / "molecules.csv").exists():
        raise UsageError(f"--out {out} holds a design: choose another folder, or add --overwrite to go on in it.")
    return Output(place, FOLDER)


def _similar(text: str | None) -> tuple[str, float] | None:
    """SMILES>=0.4 as a molecule and a number."""
    if text is None:
        return None
    smiles, bound, least = text.rpartition(">=")
    try:
        return smiles.strip(), float(least if bound else "")
    except ValueError:
        raise UsageError(
            f"--similar-to takes a molecule and the least similarity: SMILES>=0.4 (got {text!r})."
        ) from None
