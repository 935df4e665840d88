"""The verb alignment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import busy, print_json, print_text
from morphogen.cli.models import hold, limit_threads
from morphogen.cli.options import (
    BatchSize,
    Device,
    Guidance,
    Json,
    Overwrite,
    Precision,
    Seed,
    Stepper,
    Steps,
    Threads,
    Truncation,
)
from morphogen.cli.outputs import Output
from morphogen.cli.verbs.judge.results import read_names, tell, write_results

EXAMPLE = "morphogen alignment runs/words --data shapes --only test --n 200"
BESIDE = 24  # drawings beside their nearest training pictures


def alignment(
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="Whose captions are the prompts.")],
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="A model directory.")] = None,
    samples: Annotated[
        str | None, typer.Option("--samples", metavar="FOLDER|FILE.npz", help="Captioned pictures instead of a model.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="SPLIT,...", help="Which splits; all by default.")
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE.json|.html|.npz", help="Results, a page, or the drawings.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many prompts of each split.")] = 1000,
    seed: Seed = 0,
    guidance: Guidance = None,
    stepper: Stepper = None,
    steps: Steps = None,
    truncation: Truncation = None,
    precision: Precision = "fp32",
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure whether drawings show what their prompts say, for `shapes` and `emoji`.

    Prompts are captions that nobody was trained on. The results are kept in the model directory.
    """
    target = Output.parse(out, [".json", ".html", ".npz"], overwrite) if out else None
    if (model is None) == (samples is None):
        raise UsageError("give either a MODEL or --samples.")
    how: dict[str, Any] = {"guidance": guidance, "stepper": stepper, "steps": steps, "truncation": truncation}
    with busy("drawing prompts"):
        limit_threads(None if model else threads)
        held = hold(model, device, threads) if model else None
        from morphogen import api

        found = api.evaluate_alignment(
            held,
            data,
            samples=samples,
            only=read_names(only),
            n=n,
            seed=seed,
            precision=precision,
            batch_size=batch_size,
            **how,
        )
    result = found.to_dict()
    if target is not None and target.format == ".npz":
        from morphogen.report.saving import npz

        target.write(npz({"x": found.drawn.x, "captions": found.captions}))
    elif target is not None and target.format == ".html":
        from morphogen.report.evaluation_page import page

        target.write(page([{"model": str(model or samples), **result}], (), _beside(found)).html().encode())
    else:
        write_results(target, result, {})
    if json:
        print_json(result)
        return
    tell(result)
    if target is not None:
        print_text(f"wrote {target.path}")


def _beside(found: Any) -> dict[str, Any]:
    """A sheet of drawings under their prompts' names, each beside the training picture that is nearest to it."""
    import numpy as np

    from morphogen.report.sheets import sheet

    if found.nearest is None:
        return {}
    some = np.arange(len(found.compared))[:: max(1, len(found.compared) // BESIDE)][:BESIDE]
    at = found.compared[some]
    pairs = np.stack((found.drawn.x[at], found.nearest.x[some]), axis=1).reshape(-1, *found.drawn.x.shape[1:])
    captions = [found.captions[i] for i in at.tolist()]
    return {
        "each drawing, and the training picture nearest to it": sheet(
            pairs, columns=2, row_labels=captions, column_labels=("drawn", "nearest")
        )
    }
