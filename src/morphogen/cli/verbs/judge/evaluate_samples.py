"""The verb evaluate-samples."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import busy, print_json, print_table, print_text
from morphogen.cli.models import limit_threads
from morphogen.cli.options import BatchSize, Json, Overwrite, Seed, Threads
from morphogen.cli.outputs import Output
from morphogen.cli.verbs.judge.results import read_names, tell, write_results
from morphogen.report.tables import DIFFERENCE_HEADERS, difference_rows

EXAMPLE = "morphogen evaluate-samples made.npz --data digits"


def evaluate_samples(
    samples: Annotated[
        list[str], typer.Argument(metavar="FOLDER|FILE.npz...", help="What other programs made, one set or several.")
    ],
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="What to judge it against.")],
    metrics: Annotated[str | None, typer.Option("--metrics", metavar="fd,...", help="Which; all by default.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Also each pair's differences.")] = False,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE.json|FILE.html", help="Write it too.")] = None,
    split: Annotated[str, typer.Option("--split", help="Real records that were not trained on.")] = "test",
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only so many, which their content decides.")] = None,
    seed: Seed = 0,
    network: Annotated[str | None, typer.Option("--network", metavar="NAME|FILE", help="Feature network.")] = None,
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Judge pictures that any other program made, on the same terms as models; several sets by one reference."""
    target = Output.parse(out, [".json", ".html"], overwrite) if out else None
    if compare and len(samples) < 2:
        raise UsageError("--compare needs at least two sets of samples.")
    limit_threads(threads)
    from morphogen import api

    options: dict[str, Any] = {"split": split, "n": n, "seed": seed, "network": network, "batch_size": batch_size}
    with busy("evaluating"):
        if len(samples) == 1:
            judged = {samples[0]: api.evaluate_samples(samples[0], data, read_names(metrics), **options)}
            differences: list[Any] = []
        else:
            found = api.compare(samples, data, read_names(metrics), **options)
            judged = dict(zip(samples, found.models, strict=True))
            differences = found.to_dict()["differences"] if compare else []
    page = {"models": [{"model": name, **one.to_dict()} for name, one in judged.items()], "differences": differences}
    result = page if len(samples) > 1 else judged[samples[0]].to_dict()
    write_results(target, result, page, judged=judged)
    if json:
        print_json(result)
        return
    for name, one in judged.items():
        if len(samples) > 1:
            print_text("", name)
        tell(one.to_dict())
    if differences:
        print_table(DIFFERENCE_HEADERS, difference_rows(differences))
    if target is not None:
        print_text(f"wrote {target.path}")
