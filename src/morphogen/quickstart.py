"""The first five minutes: train on real digits, judge, and write a report to look at.

Two models learn scikit-learn's 1,797 handwritten digits: one of sixteen latents, which is judged, and the textbook's
with two, whose latent plane can be drawn. Of the time given, training takes about two thirds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from morphogen.core.errors import UsageError
from morphogen.report.curves import curves, read_log, series
from morphogen.report.evaluation import ladders
from morphogen.report.html import Report
from morphogen.report.points import scatter
from morphogen.report.sheets import sheet, to_bytes
from morphogen.report.tables import RESULT_HEADERS, duration, number, results_rows, span
from morphogen.train import Event, seconds

LEAST = 20.0  # seconds; less makes no digit
MOST_STEPS = {"digits": 2500, "plane": 3000}  # more overfits 1,400 pictures
SHARES = {"digits": 0.45, "plane": 0.2}
METRICS = ("elbo", "nll", "bits_per_dim", "fd", "coverage", "modes", "copied", "copied_pixels")
MODELS: dict[str, dict[str, Any]] = {
    "digits": {
        "options": {"conditional": True, "likelihood": "discretized_logistic_mixture", "dropout": 0.1},
    },
    "plane": {"preset": "classic", "options": {"variance": 0.1}},  # 64 pixels weigh less than the textbook's 784
}


def quickstart(out: Path, budget: str) -> Iterator[Event]:
    """Make `out`/report.html in about `budget`; iterate over the events of both trainings.

    Raises `UsageError` for a budget below 20 seconds, or where `out` is occupied.
    """
    start = time.perf_counter()
    try:
        allowed = float(seconds(budget))
    except ValueError as error:
        raise UsageError(f"--budget {budget}: {error}.") from None
    if allowed < LEAST:
        raise UsageError(f"--budget {budget}: a quickstart needs at least {LEAST:.0f} seconds; try --budget 4min.")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} exists and is not empty: choose another --out, or remove it.")
    return _run(out, allowed, start)


def _run(out: Path, allowed: float, start: float) -> Iterator[Event]:
    from morphogen import api  # which imports this module

    for name, how in MODELS.items():
        recipe = {**_length(name, allowed), "compile": "off", "sheet_seconds": 3}
        for event in api.train(
            "vae", "digits", out / name, preset=how.get("preset"), options=how["options"], recipe=recipe
        ):
            yield replace(event, elapsed_s=time.perf_counter() - start)
    found = api.evaluate(out / "digits", "digits", METRICS, samples=500)
    _report(out, found, start).write(out / "report.html")


def _length(name: str, allowed: float) -> dict[str, Any]:
    """Steps where there is time for them all, at a rate that any machine makes; else a budget."""
    slow = 75.0  # steps a second
    if MOST_STEPS[name] / slow <= SHARES[name] * allowed:
        return {"steps": MOST_STEPS[name]}
    return {"budget": SHARES[name] * allowed}


def _report(out: Path, found: dict[str, Any], start: float) -> Report:
    from morphogen import api

    results = found["results"]
    model, plane = out / "digits", out / "plane"
    by_name = {r["name"]: r for r in results}
    nll, bits = by_name["nll"], by_name["bits_per_dim"]
    drawn = api.sample(model, 100, seed=1)
    by_class = [api.sample(model, 10, seed=2, label=k) for k in range(10)]
    originals, copies = api.reconstruct(model, "digits", 16)
    pairs = np.concatenate([_bytes(originals), _bytes(copies)])
    walks = api.interpolate(model, "digits", 6, steps=12)
    shown = api.show(model)
    took = time.perf_counter() - start
    report = Report(
        "A model of handwritten digits",
        "A variational autoencoder, trained just now on real handwritten digits (8 by 8 pixels, 17 gray levels)."
        " Every number below is measured on pictures that it never saw, and stands beside what trivial models reach.",
    )
    report.headline(f"{number(nll['value'], nll['interval'])} nats", "-log p(x), test", span(nll["interval"]))
    trivial = min(nll["baselines"].values())
    report.headline(f"{number(trivial)} nats", "best trivial model", "independent pixels")
    report.headline(f"{number(bits['value'], bits['interval'])}", "bits per pixel", span(bits["interval"]))
    report.headline(duration(took), "in all", f"{shown['provenance']['steps']:,} steps of training")

    report.section("Samples", "New digits, drawn from noise alone, and drawn for a given class. None was chosen.")
    rows = sheet(np.concatenate([_bytes(p) for p in by_class]), columns=10, row_labels=[str(k) for k in range(10)])
    report.figures(
        [
            (sheet(_bytes(drawn), columns=10), "100 samples, no class given"),
            (rows, "10 samples of each class"),
        ]
    )
    report.section(
        "What the latents keep",
        "Test digits are encoded to 16 numbers and decoded again; walking between two codes passes through digits.",
    )
    report.figures(
        [
            (sheet(pairs, columns=16, row_labels=["original", "decoded"]), "Test digits above, reconstructions below"),
            (sheet(_bytes(walks), columns=12), "Six walks between pairs of test digits"),
        ]
    )
    report.section(
        "The latent plane of the textbook's model",
        "A second model has two latents only, so that all it knows fits on one picture: each place in the plane,"
        " decoded. The places are quantiles of the prior, so that equal areas are equally likely.",
    )
    grid = api.manifold(plane, 20)
    codes = api.encode(plane, "digits", split="train")
    report.figures(
        [
            (sheet(_bytes(grid), columns=20), "The decoded plane"),
            (
                scatter(codes.x, labels=codes.labels, classes=codes.spec.classes),
                "Where the encoder puts the training digits; colors are classes, which this model was never told",
            ),
        ]
    )
    report.section(
        "How good it is",
        "How likely it finds unseen digits: the evidence lower bound (elbo), the importance-sampled likelihood (nll),"
        " and bits per pixel beside general compressors. How good the digits are that it draws: the Frechet distance of"
        " their features to real ones (FD), the share of real digits that have a drawn one near by (coverage), the"
        " classes that it makes, and whether they are copies of training digits (copied). Arrows say which direction"
        " is better; a model must beat its baselines to have learned anything, and cannot be expected to beat the"
        " floor, which is what held-out real digits get.",
    )
    report.table(RESULT_HEADERS, results_rows(results))
    ladders(report, [found])
    log = read_log(model / "log.jsonl")
    loss = series(log, "terms")
    health = {n: v for n, v in series(log, "metrics").items() if n == "held_out_elbo"}
    charts = [(curves(loss, title="Training loss, nats", x_label="step"), "The loss in its parts, on training records")]
    if health:
        bound = curves(health, title="Bound on held-out records, nats", x_label="step")
        charts.append((bound, "The same bound on records that are held out: where it falls, the model overfits"))
    report.figures(charts)
    report.section("Next")
    report.code(
        f"morphogen sample {model} --n 64 --seed 7 --class 3 --out threes.png\n"
        f"morphogen show {model}\n"
        "morphogen train vae --data PATH/TO/YOUR/PICTURES:size=32,resize=crop --out runs/mine --budget 10min"
    )
    return report


def _bytes(pictures: Any) -> Any:
    return to_bytes(pictures.x, pictures.spec)
