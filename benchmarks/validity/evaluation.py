"""What the metrics of generated pictures see, what they miss, and how long they take.

    python -m benchmarks.validity.evaluation degradations  # every metric on every degradation: is it monotone?
    python -m benchmarks.validity.evaluation copying       # false alarms on new pictures, and which copies are caught
    python -m benchmarks.validity.evaluation time          # 10,000 pictures, beside torchmetrics in the same run
    python -m benchmarks.validity.evaluation all

Needs MORPHOGEN_DATA. `python -m tools.evaluation_docs` writes the tables and pictures of docs/results/evaluation.md
from these.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Json, load_data, path_of, plain_parser, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen
from benchmarks.peers.environments import ensure, run_in
from morphogen.core.errors import MorphogenError
from morphogen.core.rng import Rng
from morphogen.evaluation import Reference
from morphogen.evaluation.context.degradations import Jpeg, Noise, available
from morphogen.evaluation.context.ladder import Ladder, Rung, degraded
from morphogen.evaluation.metrics.copying import copying
from morphogen.evaluation.metrics.fidelity import METRICS
from morphogen.theory.statistics.intervals import binomial_interval

SETS = ("mnist", "fashion_mnist")
_EVERYTHING = ("blur", "noise", "PCA", "JPEG", "dropped")
# The degradations that each metric claims to see; what it only happens to see is in the table too.
CLAIMS = {
    "fd": _EVERYTHING,
    "kid": _EVERYTHING,
    "precision": ("blur", "noise"),
    "recall": ("dropped",),
    "density": ("blur", "noise"),
    "coverage": ("blur", "noise", "dropped"),
    "two_sample": ("blur", "noise", "PCA", "JPEG", "dropped"),
    "class_fd": ("blur", "noise", "PCA", "JPEG"),
    "modes": ("dropped",),
}
RUNGS_N = 2000
COPIED_N, TRAINED, TRIALS, PLANTED = 500, 3000, 200, 20


def degradations() -> Json:
    """Kendall's tau of each metric and degradation, and the pairs of strengths that a metric gets wrong."""
    found: Json = {
        "what": "metrics on degraded held-out pictures",
        "n": RUNGS_N,
        "claims": CLAIMS,
        "sets": {},
    }
    for name in SETS:
        dataset = load_data(name)
        held_out = dataset.split("test")
        n = min(RUNGS_N, len(held_out), len(dataset.train))
        reference = Reference(dataset, n=n)
        rungs: dict[str, list[Rung]] = {m: [] for m in CLAIMS}
        kinds = available(dataset.train, held_out)
        for kind, strength, pictures in degraded(reference.held_out, kinds, Rng(0), n):
            made = reference.made(pictures)
            for metric in CLAIMS:
                try:
                    value, _ = METRICS[metric].measure(made, reference)
                except MorphogenError:
                    continue
                rungs[metric].append(Rung.of(kind, strength, value))
        one: Json = {"network": reference.features.name, "n": n, "metrics": {}}
        found["sets"][name] = one
        for metric, track in rungs.items():
            if not track:
                continue
            ladder = Ladder(metric=metric, n=n, better=METRICS[metric].better, rungs=tuple(track))
            tau, monotone = ladder.tau(), ladder.monotone()
            one["metrics"][metric] = {
                "tau": tau,
                "monotone": monotone,
                "claimed_but_not_monotone": [d for d in CLAIMS[metric] if d in tau and not monotone[d]],
                "misses": [f"{a.label} {a.value:.4g}, {b.label} {b.value:.4g}" for a, b in ladder.misses()],
                "values": {r.label: r.value for r in track},
            }
            print(name, metric, {d: round(t, 2) for d, t in tau.items()}, one["metrics"][metric]["misses"])
    return found


def copies() -> Json:
    """How often new pictures are called copies, and how often copies are, by the share that is copied."""
    found: Json = {"what": "the copying check", "level": 0.05, "sets": {}}
    for name in SETS:
        reference = Reference(load_data(name), n=10_000)
        views: dict[str, Callable[[Tensor], Tensor]] = {
            "features": reference.features.of,
            "pixels": lambda pictures: pictures.float() / 255.0,
        }
        train, real = reference.train[:TRAINED], reference.held_out
        one: Json = {"network": reference.features.name, "train": len(train), "n": COPIED_N}
        found["sets"][name] = one
        for view, of in views.items():
            one[view] = _caught(train, real, of)
            print(name, view, one[view])
    return found


def _caught(train: Tensor, real: Tensor, of: Callable[[Tensor], Tensor]) -> Json:
    learned, fresh = of(train), of(real)
    alarms = 0
    for trial in range(TRIALS):
        order = Rng(trial).permutation("halves", 0, len(real))
        alarms += copying(fresh[order[:COPIED_N]], fresh[order[COPIED_N : 3 * COPIED_N]], learned).flagged
    caught: dict[str, float] = {}
    for how, change in DISGUISES.items():
        for share in (1.0, 0.5, 0.1, 0.02):
            hits = 0
            for trial in range(PLANTED):
                rng = Rng(1000 + trial)
                order, rows = rng.permutation("new", 0, len(real)), rng.permutation("copied", 0, len(train))
                k = round(COPIED_N * share)
                planted = of(torch.cat((change(train[rows[:k]], rng), real[order[: COPIED_N - k]])))
                hits += copying(planted, fresh[order[COPIED_N : 3 * COPIED_N]], learned).flagged
            caught[f"{how}, {share:.0%}"] = hits / PLANTED
    return {
        "false_alarms": alarms / TRIALS,
        "interval": binomial_interval(alarms, TRIALS),
        "trials": TRIALS,
        "caught": caught,
        "planted_trials": PLANTED,
    }


DISGUISES: dict[str, Callable[[Tensor, Rng], Tensor]] = {
    "exact copies": lambda x, rng: x,
    "with noise 0.05": lambda x, rng: Noise().apply(x, 0.05, rng),
    "JPEG 50": lambda x, rng: Jpeg().apply(x, 50, rng),
    "shifted by 1 px": lambda x, rng: x.roll(1, -1),
}


def timing() -> Json:
    """Seconds to judge 10,000 pictures: at first, and when real features are kept; torchmetrics beside."""
    dataset = load_data("mnist")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        x = dataset.train.stored[Rng(0).permutation("judged", 0, len(dataset.train))[:10_000]]
        np.savez(place / "made.npz", x=x.numpy())
        environment = {**os.environ, "MORPHOGEN_CACHE": str(place / "cache")}
        command = [
            sys.executable,
            "-m",
            "morphogen.cli",
            "evaluate-samples",
            str(place / "made.npz"),
            "--data",
            "mnist",
        ]
        ours = []
        for _ in range(2):
            start = time.perf_counter()
            subprocess.run([*command, "--json"], check=True, capture_output=True, env=environment)
            ours.append(time.perf_counter() - start)
        os.environ["MORPHOGEN_CACHE"] = "off"
        reference = Reference(dataset, n=10_000)
        made = reference.made(reference.features.judged(x))
        start = time.perf_counter()
        a = made.features
        features_s = time.perf_counter() - start
        np.save(place / "a.npy", a.double().numpy())
        np.save(place / "b.npy", reference.real.features.double().numpy())
        start = time.perf_counter()
        for metric in ("fd", "kid", "precision", "recall", "density", "coverage"):
            METRICS[metric].measure(made, reference)
        same = time.perf_counter() - start
        ensure("estimators")
        start = time.perf_counter()
        found = run_in("estimators", "benchmarks.peers.prdc", folder)
        theirs = time.perf_counter() - start
    return {
        "what": "seconds to judge 10,000 pictures of 28x28",
        "all metrics from files by the command, for the first time": ours[0],
        "the same again, features of real pictures kept": ours[1],
        "features of 10,000 pictures": features_s,
        "FD, KID, precision, recall, density, coverage with intervals, from features": same,
        "the same without intervals by torchmetrics and prdc, their start included": theirs,
        "peer": json.loads(found),
    }


# ------------------------------------------------------------------------------- on the results page


FIRST_TIME, AGAIN = (
    "all metrics from files by the command, for the first time",
    "the same again, features of real pictures kept",
)


def _seconds(record: Result) -> Seen:
    return Seen(record[FIRST_TIME], None, f"again {record[AGAIN]:.0f} s", ".0f")


_figure = tables.of("validity.evaluation time", "evaluation-time")
_WHAT = "seconds to judge 10,000 pictures of 28 x 28, all metrics, for the first time"
FIGURES = (_figure(_WHAT, tables.at_most(60.0, "under 60"), _seconds),)
PARTS: dict[str, Callable[[], Json]] = {"degradations": degradations, "copying": copies, "time": timing}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("part", choices=[*PARTS, "all"])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    chosen = parser().parse_args(arguments).part
    for name in PARTS if chosen == "all" else [chosen]:
        start = time.perf_counter()
        found = PARTS[name]()
        write(path_of(f"evaluation-{name}"), {**found, "duration_s": round(time.perf_counter() - start, 1)})


if __name__ == "__main__":
    main()
