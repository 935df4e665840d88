"""What the metrics of generated pictures see, what they miss, and how long they take.

    python -m benchmarks.evaluation scales        # floors, baselines and ladders of the named sets, for the package
    python -m benchmarks.evaluation degradations  # every metric on every degradation: is it monotone?
    python -m benchmarks.evaluation copying       # false alarms on new pictures, and which copies are caught
    python -m benchmarks.evaluation time          # 10,000 pictures, beside torchmetrics in the same run
    python -m benchmarks.evaluation docs          # the tables and pictures of docs/evaluation.md from these
    python -m benchmarks.evaluation all

Needs MORPHOGEN_DATA. Results go to benchmarks/results/evaluation-*.json.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import morphogen as mg
from benchmarks import peers
from morphogen.core.rng import Rng
from morphogen.data import Dataset
from morphogen.evaluation import Reference
from morphogen.evaluation.context.degradations import Jpeg, Noise, available
from morphogen.evaluation.context.ladder import Ladder, Rung, degraded
from morphogen.evaluation.metrics.copying import copying
from morphogen.evaluation.metrics.fidelity import METRICS
from morphogen.report import canvas
from morphogen.report.ladder_plot import ladder as draw_ladder
from morphogen.report.ladder_plot import ladder_pictures
from morphogen.theory.statistics.intervals import binomial_interval
from morphogen.training import provenance

ROOT = Path(__file__).resolve().parent.parent
RESULTS, DOCS = Path(__file__).parent / "results", ROOT / "docs"
SCALES = ROOT / "src" / "morphogen" / "evaluate" / "scales"
SHIPPED = ("mnist", "fashion_mnist")
JUDGED = ("mnist", "fashion_mnist")
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


def scales() -> None:
    """Write what a value of 10,000 pictures is read against, by the hash of what it was measured with."""
    SCALES.mkdir(exist_ok=True)
    for old in SCALES.glob("*.json"):
        old.unlink()
    for name in SHIPPED:
        start = time.perf_counter()
        reference = Reference(mg.load_data(name))
        scaled = [m for m in METRICS.values() if m.scaled and m.name not in ("marginals", "associations")]
        found = {metric: scale.to_dict() for metric, scale in reference.measured(scaled).items()}
        (SCALES / f"{reference.key[:16]}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(f"{name}: {reference.features.name}, n = {reference.n:,}, {time.perf_counter() - start:.0f} s")


def degradations() -> dict[str, Any]:
    """Kendall's tau of each metric and degradation, and the pairs of strengths that a metric gets wrong."""
    found: dict[str, Any] = {
        "what": "metrics on degraded held-out pictures",
        "n": RUNGS_N,
        "claims": CLAIMS,
        "sets": {},
    }
    for name in JUDGED:
        dataset = mg.load_data(name)
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
                except mg.MorphogenError:
                    continue
                rungs[metric].append(Rung.of(kind, strength, value))
        one: dict[str, Any] = {"network": reference.features.name, "n": n, "metrics": {}}
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


def copies() -> dict[str, Any]:
    """How often new pictures are called copies, and how often copies are, by the share that is copied."""
    found: dict[str, Any] = {"what": "the copying check", "level": 0.05, "sets": {}}
    for name in SHIPPED:
        reference = Reference(mg.load_data(name), n=10_000)
        views: dict[str, Callable[[Tensor], Tensor]] = {
            "features": reference.features.of,
            "pixels": lambda pictures: pictures.float() / 255.0,
        }
        train, real = reference.train[:TRAINED], reference.held_out
        one: dict[str, Any] = {"network": reference.features.name, "train": len(train), "n": COPIED_N}
        found["sets"][name] = one
        for view, of in views.items():
            one[view] = _caught(train, real, of)
            print(name, view, one[view])
    return found


def _caught(train: Tensor, real: Tensor, of: Callable[[Tensor], Tensor]) -> dict[str, Any]:
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


def timing() -> dict[str, Any]:
    """Seconds to judge 10,000 pictures: at first, and when real features are kept; torchmetrics beside."""
    dataset = mg.load_data("mnist")
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
        python, script = peers.ensure("estimators"), Path(__file__).with_name("estimators_peer.py")
        start = time.perf_counter()
        done = subprocess.run([python, script, folder], check=True, capture_output=True, text=True)
        theirs = time.perf_counter() - start
    return {
        "what": "seconds to judge 10,000 pictures of 28x28",
        "all metrics from files by the command, for the first time": ours[0],
        "the same again, features of real pictures kept": ours[1],
        "features of 10,000 pictures": features_s,
        "FD, KID, precision, recall, density, coverage with intervals, from features": same,
        "the same without intervals by torchmetrics and prdc, their start included": theirs,
        "peer": json.loads(done.stdout),
        "hardware": provenance.hardware(torch.device("cpu"), 1),
    }


# ---------------------------------------------------------------------------- docs


def docs() -> None:
    """Write the tables between the marks of docs/evaluation.md, and its pictures."""
    page = DOCS / "evaluation.md"
    text = page.read_text(encoding="utf-8")
    (DOCS / "images").mkdir(exist_ok=True)
    blocks = {"ladders": _ladders(), "degradations": _degradations(), "copying": _copying(), "time": _time()}
    for mark, block in blocks.items():
        pattern = rf"(<!-- {mark}: .*?-->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda m, block=block: f"{m[1]}\n{block}\n\n{m[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"docs/evaluation.md has {count} places for {mark!r}, expected one.")
    page.write_text(text, encoding="utf-8")


def _ladders() -> str:
    parts = []
    for name in SHIPPED:
        dataset: Dataset = mg.load_data(name)
        reference = Reference(dataset)
        found = reference.scales([METRICS["fd"], METRICS["kid"]])
        held_out, scale = dataset.split("test"), found["fd"]
        assert scale.ladder is not None and scale.floor is not None
        tracks = {d: [(r.short, r.value) for r in track] for d, track in scale.ladder.tracks().items()}
        figure = draw_ladder(
            tracks,
            baselines=scale.baselines,
            floor=(scale.floor, scale.floor_interval),
            x_label=f"FD-{reference.features.name}",
        )
        (DOCS / "images" / f"ladder-{name}.png").write_bytes(canvas.png(figure))
        rows: dict[str, list[tuple[str, Any]]] = {}
        real = reference.held_out[:3]
        for kind in available(dataset.train, held_out):
            if kind.name != "dropped":  # other pictures, no other look
                changed = [(kind.short(s), kind.apply(real, s, Rng(0))) for s in kind.strengths]
                rows[kind.name] = [("real", real), *changed]
        ladder_pictures(rows).save(DOCS / "images" / f"degradations-{name}.png")
        parts += [
            f"**{name}**, n = {reference.n:,}, network `{reference.features.name}`; floor of FD {scale.floor:.4g},"
            f" of KID {found['kid'].floor:.3g}.\n",
            f"![Frechet distance of degraded pictures, {name}](images/ladder-{name}.png)\n",
            f"![The degradations, {name}](images/degradations-{name}.png)\n",
        ]
    return "\n".join(parts)


def _degradations() -> str:
    found = _read("degradations")
    lines = []
    for name, one in found["sets"].items():
        kinds = list(next(iter(one["metrics"].values()))["tau"])
        lines += [f"\n**{name}**, n = {one['n']:,}, network `{one['network']}`\n"]
        lines += ["| metric | " + " | ".join(kinds) + " | claimed, but not monotone |"]
        lines += ["| --- |" + " ---: |" * len(kinds) + " --- |"]
        for metric, row in one["metrics"].items():
            cells = [
                f"{row['tau'][k]:.2f}{'*' if k in found['claims'][metric] else ''}{' m' if row['monotone'][k] else ''}"
                for k in kinds
            ]
            lines.append(
                f"| {metric} | " + " | ".join(cells) + f" | {', '.join(row['claimed_but_not_monotone']) or '-'} |"
            )
    return "\n".join(lines).strip()


def _copying() -> str:
    found = _read("copying")
    lines = ["| set, by | false alarms | " + " | ".join(DISGUISES) + " |", "| --- |" + " ---: |" * (1 + len(DISGUISES))]
    for name, one in found["sets"].items():
        for view in ("features", "pixels"):
            low, high = one[view]["interval"]
            caught: dict[str, list[str]] = {}
            for how, share in one[view]["caught"].items():
                caught.setdefault(how.rpartition(",")[0], []).append(f"{share:.0%}")
            cells = " | ".join(" / ".join(caught[how]) for how in DISGUISES)
            lines.append(f"| {name}, {view} | {one[view]['false_alarms']:.1%} ({low:.1%} to {high:.1%}) | {cells} |")
    return "\n".join(lines)


def _time() -> str:
    found = _read("time")
    rows = [f"| {what} | {value:.1f} |" for what, value in found.items() if isinstance(value, float)]
    hardware = found["hardware"]
    return "\n".join(
        ["| what | seconds |", "| --- | ---: |", *rows, "", f"{hardware['cpu']}, {hardware['threads']} threads."]
    )


def _read(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"evaluation-{name}.json").read_text(encoding="utf-8"))


PARTS: dict[str, Callable[[], dict[str, Any] | None]] = {
    "scales": scales,
    "degradations": degradations,
    "copying": copies,
    "time": timing,
    "docs": docs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "all"])
    chosen = parser.parse_args().part
    for name in PARTS if chosen == "all" else [chosen]:
        start = time.perf_counter()
        found = PARTS[name]()
        if found is not None:
            found["duration_s"] = round(time.perf_counter() - start, 1)
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"evaluation-{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
