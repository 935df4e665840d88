"""The verb evaluate-molecules."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy, print_json, print_text
from morphogen.cli.models import limit_threads
from morphogen.cli.options import BatchSize, Json, N, Overwrite, Seed, Temperature, Threads
from morphogen.cli.outputs import Output
from morphogen.cli.verbs.judge.results import read_names, tell, write_results

EXAMPLE = "morphogen evaluate-molecules drawn.smi --data chembl --measures valid,product"


def evaluate_molecules(
    molecules: Annotated[str, typer.Argument(metavar="MODEL|FILE.smi", help="What draws them, or what was drawn.")],
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="Molecules of training, and held-out ones.")],
    measures: Annotated[
        str | None, typer.Option("--measures", metavar="product,...", help="Which; all by default.")
    ] = None,
    baselines: Annotated[
        str | None, typer.Option("--baselines", metavar="copies,...", help="Which; all by default, or none.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE.json|FILE.html", help="Write it too.")] = None,
    split: Annotated[str, typer.Option("--split", help="Molecules that were not trained on.")] = "test",
    n: N = 10_000,
    seed: Seed = 0,
    temperature: Temperature = None,
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Judge molecules: valid, unique, novel, their product, FCD and more, beside a floor and baselines."""
    target = Output.parse(out, [".json", ".html"], overwrite) if out else None
    limit_threads(threads)
    from morphogen import api

    with busy("evaluating"):
        judged = api.evaluate_molecules(
            molecules,
            data,
            read_names(measures),
            baselines=[] if baselines == "none" else read_names(baselines),
            split=split,
            n=n,
            seed=seed,
            temperature=temperature,
            batch_size=batch_size or 256,
        )
    found = judged.to_dict()
    page = {"models": [{"model": molecules, **found}], "differences": []}
    write_results(target, found, page, judged={molecules: judged})
    if json:
        print_json(found)
        return
    tell(found)
    if target is not None:
        print_text(f"wrote {target.path}")
