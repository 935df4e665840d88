"""Verbs that judge: evaluate, evaluate-samples, alignment, verify, check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import Json, as_json, busy, print_fields, print_json, print_table, print_text
from morphogen.cli.outputs import Output, Overwrite, npz
from morphogen.report.tables import DIFFERENCE_HEADERS, RESULT_HEADERS, difference_rows, results_rows

SHOWN = 64  # samples on a page
BESIDE = 24  # of them beside their nearest training pictures
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory.")]


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
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Where the noise starts.")] = 0,
    network: Annotated[str | None, typer.Option("--network", metavar="NAME|FILE", help="Feature network.")] = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure models on held-out records, and the records that they make; each number with its interval and baselines.

    The results are kept in the model directories.
    """
    target = Output.parse(out, [".json", ".html"], overwrite) if out else None
    if compare and len(models) < 2:
        raise UsageError("--compare needs at least two models.")
    from morphogen import api

    with busy("evaluating"):
        held = [api.load(m) for m in models]
        found = api.compare(
            held, data, _names(metrics), split=split, n=n, samples=samples, seed=seed, network=network
        ).to_dict()
    if not compare:
        found["differences"] = []
    result = found if len(models) > 1 else found["models"][0]
    _write(target, result, found, lambda: {str(m.path): api.sample(m, SHOWN, seed) for m in held})
    if json:
        print_json(result)
        return
    for one in found["models"]:
        if len(models) > 1:
            print_text("", str(one["model"]))
        _tell(one)
    if found["differences"]:
        print_table(DIFFERENCE_HEADERS, difference_rows(found["differences"]))
    if target is not None:
        print_text(f"wrote {target.path}")


def evaluate_samples(
    samples: Annotated[str, typer.Argument(metavar="FOLDER|FILE.npz", help="What another program made.")],
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="What to judge it against.")],
    metrics: Annotated[str | None, typer.Option("--metrics", metavar="fd,...", help="Which; all by default.")] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE.json|FILE.html", help="Write it too.")] = None,
    split: Annotated[str, typer.Option("--split", help="Real records that were not trained on.")] = "test",
    n: Annotated[int | None, typer.Option("--n", min=1, help="Only so many, which their content decides.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Which real records are drawn.")] = 0,
    network: Annotated[str | None, typer.Option("--network", metavar="NAME|FILE", help="Feature network.")] = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Judge pictures that any other program made, on the same terms as models."""
    target = Output.parse(out, [".json", ".html"], overwrite) if out else None
    from morphogen import api

    with busy("evaluating"):
        judged = api.evaluate_samples(samples, data, _names(metrics), split=split, n=n, seed=seed, network=network)
    found = judged.to_dict()
    _write(target, found, {"models": [{"model": samples, **found}], "differences": []}, dict)
    if json:
        print_json(found)
        return
    _tell(found)
    if target is not None:
        print_text(f"wrote {target.path}")


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
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Where the noise starts.")] = 0,
    guidance: Annotated[
        float | None, typer.Option("--guidance", metavar="W", help="Towards the prompt; 1 is none.")
    ] = None,
    stepper: Annotated[str | None, typer.Option("--stepper", metavar="NAME", help="As of `sample`.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="From noise to record.")] = None,
    truncation: Annotated[
        float | None, typer.Option("--truncation", metavar="T", help="Below 1: latents nearer to their mean.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", metavar="P", help="fp32, bf16, or auto.")] = "fp32",
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Measure whether drawings show what their prompts say, for `shapes` and `emoji`.

    Prompts are captions that nobody was trained on. The results are kept in the model directory.
    """
    target = Output.parse(out, [".json", ".html", ".npz"], overwrite) if out else None
    if (model is None) == (samples is None):
        raise UsageError("give either a MODEL or --samples.")
    from morphogen import api

    how: dict[str, Any] = {"guidance": guidance, "stepper": stepper, "steps": steps, "truncation": truncation}
    with busy("drawing prompts"):
        found = api.evaluate_alignment(
            model, data, samples=samples, only=_names(only), n=n, seed=seed, precision=precision, **how
        )
    result = found.to_dict()
    if target is not None and target.format == ".npz":
        target.write(npz({"x": found.drawn.x, "captions": found.captions}))
    elif target is not None and target.format == ".html":
        from morphogen.report.evaluation_page import page

        target.write(page([{"model": str(model or samples), **result}], (), _beside(found)).html().encode())
    elif target is not None:
        target.write((as_json(result) + "\n").encode())
    if json:
        print_json(result)
        return
    _tell(result)
    if target is not None:
        print_text(f"wrote {target.path}")


def _names(metrics: str | None) -> list[str] | None:
    return [name.strip() for name in metrics.split(",") if name.strip()] if metrics else None


def _tell(found: dict[str, Any]) -> None:
    """Results, then why some are missing, then what to beware of."""
    print_table(RESULT_HEADERS, results_rows(found["results"]))
    reasons: dict[str, list[str]] = {}
    for name, why in found["left_out"].items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        print_text(f"left out {', '.join(names)}: {why}")
    for note in found.get("notes", ()):
        print_text(f"note: {note}")
    for warning in sorted({w for result in found["results"] for w in result["warnings"]}):
        print_text(f"warning: {warning}")


def _write(
    target: Output | None, result: dict[str, Any], found: dict[str, Any], samples: Callable[[], dict[str, Any]]
) -> None:
    """The results as JSON, or all of them as one page with sheets of samples of equal seeds."""
    if target is None:
        return
    if target.format == ".json":
        target.write((as_json(result) + "\n").encode())
        return
    from morphogen.report.evaluation_page import page
    from morphogen.report.sheets import sheet, to_bytes

    drawn = samples()
    sheets = {name: sheet(to_bytes(made.x, made.spec)) for name, made in drawn.items() if made.spec.is_picture}
    target.write(page(found["models"], found["differences"], sheets).html().encode())


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


def verify(model: Model, json: Json = False) -> None:
    """Check that a model directory is whole and unaltered, file by file."""
    from morphogen import api

    found = api.verify(model).to_dict()
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
