"""The verb evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphogen import UsageError
from morphogen.cli.console import busy, print_json, print_table, print_text
from morphogen.cli.models import hold, require_folder
from morphogen.cli.options import BatchSize, Device, Json, Overwrite, Seed, Threads
from morphogen.cli.outputs import Output
from morphogen.cli.verbs.judge.results import read_names, tell, write_results
from morphogen.report.tables import DIFFERENCE_HEADERS, difference_rows

EXAMPLE = "morphogen evaluate runs/first --data digits --metrics nll,fd --out evaluation.html"
SHOWN = 64  # samples on a page


def evaluate(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Model directories.")],
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="What to judge it on.")],
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="nll,fd,...", help="Which; all by default.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Also each pair's differences.")] = False,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE.json|FILE.html", help="Write it too.")] = None,
    split: Annotated[str, typer.Option("--split", help="The records that were not trained on.")] = "test",
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many records to judge, and to draw.")] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=1, help="Importance samples a record.")] = None,
    seed: Seed = 0,
    network: Annotated[str | None, typer.Option("--network", metavar="NAME|FILE", help="Feature network.")] = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure models on held-out records, and the records that they make; each number with its interval and baselines.

    The results are kept in the model directories.
    """
    target = Output.parse(out, [".json", ".html"], overwrite) if out else None
    if compare and len(models) < 2:
        raise UsageError("--compare needs at least two models.")
    with busy("evaluating"):
        for model in models:
            require_folder(model)
        held = [hold(model, device, threads) for model in models]
        from morphogen import api

        compared = api.compare(
            held,
            data,
            read_names(metrics),
            split=split,
            n=n,
            samples=samples,
            seed=seed,
            network=network,
            batch_size=batch_size,
        )
    found = compared.to_dict()
    if not compare:
        found["differences"] = []
    result = found if len(models) > 1 else found["models"][0]
    judged = {str(one.of["model"]): one for one in compared.models}
    write_results(target, result, found, lambda: {str(m.path): m.sample(SHOWN, seed) for m in held}, judged)
    if json:
        print_json(result)
        return
    for one in found["models"]:
        if len(models) > 1:
            print_text("", str(one["model"]))
        tell(one)
    if found["differences"]:
        print_table(DIFFERENCE_HEADERS, difference_rows(found["differences"]))
    if target is not None:
        print_text(f"wrote {target.path}")
