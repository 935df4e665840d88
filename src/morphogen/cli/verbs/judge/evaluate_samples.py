"""The verb evaluate-samples."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy, print_json, print_text
from morphogen.cli.models import limit_threads
from morphogen.cli.options import Json, Overwrite, Seed, Threads
from morphogen.cli.outputs import Output
from morphogen.cli.verbs.judge.results import read_names, tell, write_results

EXAMPLE = "morphogen evaluate-samples made.npz --data digits"


def evaluate_samples(
    samples: Annotated[str, typer.Argument(metavar="FOLDER|FILE.npz", help="What another program made.")],
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="What to judge it against.")],
    metrics: Annotated[str | None, typer.Option("--metrics", metavar="fd,...", help="Which; all by default.")] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE.json|FILE.html", help="Write it too.")] = None,
    split: Annotated[str, typer.Option("--split", help="Real records that were not trained on.")] = "test",
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only so many, which their content decides.")] = None,
    seed: Seed = 0,
    network: Annotated[str | None, typer.Option("--network", metavar="NAME|FILE", help="Feature network.")] = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Judge pictures that any other program made, on the same terms as models."""
    target = Output.parse(out, [".json", ".html"], overwrite) if out else None
    limit_threads(threads)
    from morphogen import api

    with busy("evaluating"):
        judged = api.evaluate_samples(samples, data, read_names(metrics), split=split, n=n, seed=seed, network=network)
    found = judged.to_dict()
    page = {"models": [{"model": samples, **found}], "differences": []}
    write_results(target, found, page, judged={samples: judged})
    if json:
        print_json(found)
        return
    tell(found)
    if target is not None:
        print_text(f"wrote {target.path}")
