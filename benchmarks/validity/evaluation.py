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
from PIL import Image
from torch import Tensor

from benchmarks.harness import Json, load_data, path_of, plain_parser, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen
from benchmarks.peers.environments import ensure, run_in
from morphogen.core.errors import MorphogenError
from morphogen.core.rng import Rng
from morphogen.evaluation import Reference
from morphogen.evaluation.context.degradations import Jpeg, Noise, available, drawn
from morphogen.evaluation.context.ladder import Ladder, Rung, degraded
from morphogen.evaluation.metrics.copying import by_distances, cells
from morphogen.evaluation.metrics.disguised_copies import DisguisedCopies
from morphogen.evaluation.metrics.fidelity import METRICS
from morphogen.theory.statistics.intervals import binomial_interval
from morphogen.theory.statistics.neighbors import nearest

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
COPIED_N, POOL, TRAINED, TRIALS, PLANTED = 250, 1000, (3000, 20_000, 0), 200, 20  # 0 training pictures: all
SHARES = (1.0, 0.5, 0.1)


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
    found: Json = {"what": "the copying checks", "level": 0.05, "n": COPIED_N, "held_out": POOL - COPIED_N, "sets": {}}
    for name in SETS:
        found["sets"][name] = {}
        for trained in TRAINED:
            reference = Reference(load_data(name), n=1000)
            train = reference.train[drawn(len(reference.train), trained or len(reference.train), Rng(5))]
            of = found["sets"][name][f"{len(train):,} training pictures"] = _caught(train, reference)
            print(name, len(train), json.dumps(of), flush=True)
    return found


def _caught(train: Tensor, reference: Reference) -> Json:
    """Distances are found once for a pool of new pictures and one of each disguise; trials draw sets from the pools."""
    real = reference.held_out[drawn(len(reference.held_out), POOL, Rng(6))]
    rows = drawn(len(train), 2 * COPIED_N, Rng(7))
    pools = {"new": real} | {how: change(train[rows], Rng(8))[:COPIED_N] for how, change in DISGUISES.items()}
    search, of_network = DisguisedCopies(train), reference.features.of
    learned, flat = of_network(train), train.flatten(1).float() / 255.0
    views: dict[str, tuple[Callable[[Tensor], tuple[Tensor, Tensor]], Callable[[Tensor], Tensor], Tensor]] = {
        "features": (lambda x: nearest(of_network(x), learned), of_network, learned),
        "pixels": (lambda x: nearest(x.flatten(1) / 255.0, flat), lambda x: x.flatten(1) / 255.0, flat),
        "moved": (search.moved, search.components, search.low),
        "mixed": (search.mixed, search.components, search.low),
    }
    start, p_values = time.perf_counter(), {}
    for view, (distance, place, places) in views.items():
        found = {pool: distance(pictures)[0] for pool, pictures in pools.items()}
        where = {pool: cells(place(x), place(real), places)[0] for pool, x in pools.items()}
        p_values[view] = _trials(found, where)
    alarms = {view: sum(p <= 0.05 for p in found["new"]) for view, found in p_values.items()}
    together = {
        what: [min(1.0, len(views) * min(ps)) for ps in zip(*(found[what] for found in p_values.values()), strict=True)]
        for what in p_values["pixels"]
    }
    alarms["all four"] = sum(p <= 0.05 for p in together["new"])
    shares = {view: {w: _share(ps) for w, ps in of.items() if w != "new"} for view, of in p_values.items()}
    return {
        view: {
            "false_alarms": count / TRIALS,
            "interval": binomial_interval(count, TRIALS),
            "trials": TRIALS,
            "caught": {w: _share(ps) for w, ps in together.items() if w != "new"}
            if view == "all four"
            else shares[view],
            "planted_trials": PLANTED,
        }
        for view, count in alarms.items()
    } | {"seconds": round(time.perf_counter() - start, 1)}


def _share(p_values: Sequence[float]) -> float:
    return sum(p <= 0.05 for p in p_values) / len(p_values)


def _trials(found: dict[str, Tensor], where: dict[str, Tensor]) -> dict[str, list[float]]:
    """The p-values of sets of new pictures, and of sets with each share of each disguise."""
    values: dict[str, list[float]] = {"new": []}

    def judged(chosen: Sequence[tuple[str, Tensor]], held_out: Tensor) -> float:
        distances = torch.cat([found[pool][rows] for pool, rows in chosen])
        cell = torch.cat([where[pool][rows] for pool, rows in chosen])
        twins = torch.zeros(len(distances), dtype=torch.int64)
        return by_distances(distances, twins, found["new"][held_out], (cell, where["new"][held_out])).p_value

    for trial in range(TRIALS):
        order = Rng(trial).permutation("halves", 0, POOL)
        values["new"].append(judged([("new", order[:COPIED_N])], order[COPIED_N:]))
    for how in DISGUISES:
        for share in SHARES:
            k = round(COPIED_N * share)
            values[f"{how}, {share:.0%}"] = []
            for trial in range(PLANTED):
                order = Rng(1000 + trial).permutation("new", 0, POOL)
                copied = Rng(1000 + trial).permutation("copied", 0, COPIED_N)[:k]
                chosen = [(how, copied), ("new", order[: COPIED_N - k])]
                values[f"{how}, {share:.0%}"].append(judged(chosen, order[COPIED_N:]))
    return values


def _turned(x: Tensor, degrees: float) -> Tensor:
    return _by_pillow(x, lambda picture: picture.rotate(degrees, Image.Resampling.BICUBIC))


def _cut(x: Tensor) -> Tensor:
    """Without a fourteenth of each side, enlarged again."""

    def change(picture: Image.Image) -> Image.Image:
        w, h = picture.size
        inside = picture.crop((w // 14, h // 14, w - w // 14, h - h // 14))
        return inside.resize((w, h), Image.Resampling.BICUBIC)

    return _by_pillow(x, change)


def _by_pillow(x: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    changed = [[np.asarray(change(Image.fromarray(channel.numpy()))) for channel in picture] for picture in x]
    return torch.from_numpy(np.array(changed))


def _in_pairs(x: Tensor) -> Tensor:
    """The first half, each averaged with one of the second half."""
    one, other = x.float().chunk(2)
    return (0.5 * (one + other)).round().byte()


DISGUISES: dict[str, Callable[[Tensor, Rng], Tensor]] = {
    "exact copies": lambda x, rng: x,
    "with noise 0.05": lambda x, rng: Noise().apply(x, 0.05, rng),
    "JPEG 50": lambda x, rng: Jpeg().apply(x, 50, rng),
    "shifted by 1 px": lambda x, rng: x.roll(1, -1),
    "turned by 5 degrees": lambda x, rng: _turned(x, 5.0),
    "cut by 2 px": lambda x, rng: _cut(x),
    "averaged in pairs": lambda x, rng: _in_pairs(x),
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
