"""How the time of a training step grows with the batch and with the pixels, and what a second process brings.

    python -m benchmarks.growth              # 3 rounds, on all cores; nothing else may run meanwhile
    python -m benchmarks.growth --rounds 1   # where the machine is slow
    python -m benchmarks.growth --together   # one process and two alone; the rest of the result stays as it is
    python -m benchmarks.growth --quick      # toy sizes, to see that all of it runs

The default diffusion U-Net, GAN and VAE learn RGB pictures of `shapes` by the whole of `mg.train`, not compiled: first
32 x 32 at batches of 8 to 256, then 64 at a time with sides of 16 to 64. A trainer's first steps warm it up and are
not counted; a round gives the median of the others, and medians and ranges are taken over the rounds, in which all
sizes take turns. Proportional growth is one to one in the log-log plot, docs/images/growth.png. Then the U-Net at a
global batch of 64 by two processes of one thread each, which gloo joins, in turn with one process of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import morphogen as mg
from benchmarks.peers import ROOT
from benchmarks.run import QUICK
from benchmarks.throughput import RESULTS, summary
from morphogen.report.canvas import COLORS, png, styled
from morphogen.training import provenance
from morphogen.training.distributed import resolve_device

IMAGE = ROOT / "docs" / "images" / "growth.png"
FAMILIES = ("diffusion", "gan", "vae")
WARM = 4  # steps that are not counted


@dataclass(frozen=True)
class Plan:
    """Sizes, and how long each is measured in a round: `seconds`, and `steps` at least."""

    batches: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    side: int = 32
    sides: tuple[int, ...] = (16, 32, 64)
    batch: int = 64
    rounds: int = 3
    seconds: float = 5.0
    steps: int = 6
    together: int = 20  # steps of the comparison of one process with two


TOY = Plan(batches=(2, 4), sides=(16, 32), batch=4, rounds=1, seconds=0.0, steps=2, together=2)


def step_s(family: str, side: int, batch: int, seconds: float, steps: int, out: Path, **recipe: Any) -> float:
    """The median seconds of a training step, over `seconds` and at least `steps` steps of a warm trainer."""
    recipe |= {"steps": 1_000_000, "batch_size": batch, "compile": "off"}
    recipe |= {"sheet_seconds": 1e6, "checkpoint_seconds": 1e6}
    events = mg.train(family, f"shapes:size={side},n=600", out, recipe=recipe)
    laps: list[tuple[int, float]] = []  # steps made, and when: an event tells of one step or of several
    for event in events:
        if event.step >= WARM:
            laps.append((event.step, time.perf_counter()))
            if laps[-1][0] - laps[0][0] >= steps and laps[-1][1] - laps[0][1] >= seconds:
                break
    events.close()  # type: ignore[attr-defined]
    return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(laps))


def measured(plan: Plan) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """family -> "batch" and "pixels" -> the seconds of a step at each size."""
    sizes = [(plan.side, batch) for batch in plan.batches] + [(side, plan.batch) for side in plan.sides]
    cases = [(family, side, batch) for family in FAMILIES for side, batch in dict.fromkeys(sizes)]
    found: dict[tuple[str, int, int], list[float]] = {case: [] for case in cases}
    for index in range(plan.rounds):
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                found[case].append(step_s(*case, plan.seconds, plan.steps, Path(folder) / "model"))
            family, side, batch = case
            print(f"round {index + 1}: {family}, {side} px, batch {batch}: {found[case][-1]:.4f} s a step", flush=True)

    def row(family: str, side: int, batch: int) -> dict[str, Any]:
        return {"side": side, "batch": batch, "step_s": summary(found[family, side, batch])}

    return {
        family: {
            "batch": [row(family, plan.side, batch) for batch in plan.batches],
            "pixels": [row(family, side, plan.batch) for side in plan.sides],
        }
        for family in FAMILIES
    }


def exponent(sizes: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> float:
    """e of step_s = c size^e, by least squares in the logarithms: 1 is proportional growth."""
    return float(np.polyfit(np.log(sizes), np.log([row["step_s"]["median"] for row in rows]), 1)[0])


def together(plan: Plan) -> dict[str, Any]:
    """The U-Net by one process of one thread, and by two that share the batch; ratios within a round."""
    one, two = [], []
    for index in range(plan.rounds):
        for processes, times in ((1, one), (2, two)):
            times.append(_step_s_of(processes, plan))
            print(f"round {index + 1}: {processes} processes: {times[-1]:.4f} s a step", flush=True)
    return {
        "started": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "what": f"the default diffusion U-Net at {plan.side} px, global batch {plan.batch}, one thread a process",
        "one_step_s": summary(one),
        "two_step_s": summary(two),
        "ratio": summary([a / b for a, b in zip(one, two, strict=True)]),
    }


def _step_s_of(processes: int, plan: Plan) -> float:
    with tempfile.TemporaryDirectory() as folder:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        worker = ["-m", "benchmarks.growth", "--out", f"{folder}/model"]
        worker += ["--worker", str(plan.side), str(plan.batch), str(plan.together)]
        command = [sys.executable, *(torchrun if processes > 1 else []), *worker]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return float(done.stdout.strip().splitlines()[-1])


@styled
def drawn(found: Mapping[str, Any]) -> bytes:
    """The seconds of a step against the batch and against the pixels, beside proportional growth; a PNG."""
    fig = Figure(figsize=(9.0, 3.8), layout="constrained")
    FigureCanvasAgg(fig)
    left, right = fig.subplots(1, 2, sharey=True)
    panels = {
        "batch": (left, "batch", lambda row: row["batch"], lambda row: f"{row['batch']}"),
        "pixels": (
            right,
            "pixels of a picture",
            lambda row: row["side"] ** 2,
            lambda row: f"{row['side']} x {row['side']}",
        ),
    }
    for against, (axes, label, size, name) in panels.items():
        for color, (family, growth) in zip(COLORS, found["growth"].items(), strict=False):
            rows = growth[against]
            x, y = np.array([size(row) for row in rows]), np.array([row["step_s"]["median"] for row in rows])
            ends = np.array([row["step_s"]["range"] for row in rows]).T
            steep = f"{family}, {against}^{growth['exponent'][against]:.2f}"
            axes.errorbar(x, y, np.abs(ends - y), color=color, marker="o", markersize=4, capsize=2, label=steep)
            axes.plot(x, y[-1] * x / x[-1], color=color, linestyle="--", linewidth=0.9, alpha=0.6)
        axes.plot(
            [], [], color="#5f6368", linestyle="--", linewidth=0.9, label="proportional growth, through the last point"
        )
        axes.set(xscale="log", yscale="log", xlabel=label)
        axes.set_xticks(x, [name(row) for row in rows])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.legend(loc="upper left", fontsize=8)
    first = next(iter(found["growth"].values()))
    left.set(
        ylabel="seconds of a training step", title=f"{first['batch'][0]['side']} x {first['batch'][0]['side']}, RGB"
    )
    right.set(title=f"batch {first['pixels'][0]['batch']}")
    return png(fig)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="toy sizes, no figure to be quoted")
    parser.add_argument("--rounds", type=int, default=Plan.rounds, help="each gives a median of its own")
    parser.add_argument("--together", action="store_true", help="measure one process and two alone")
    parser.add_argument("--out", type=Path, help="where to write; growth.json among the results, the plot in docs/")
    parser.add_argument("--worker", type=int, nargs=3, metavar=("SIDE", "BATCH", "STEPS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        side, batch, steps = chosen.worker
        # several processes tell of a step only where the log does
        seconds = step_s("diffusion", side, batch, 0.0, steps, chosen.out, device="cpu", log_every=WARM)
        if os.environ.get("RANK", "0") == "0":
            print(seconds)
        return
    if chosen.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {chosen.rounds}")
    plan = TOY if chosen.quick else Plan(rounds=chosen.rounds)
    out = chosen.out or (QUICK if chosen.quick else RESULTS) / "growth.json"
    image = IMAGE if out.parent == RESULTS else out.with_suffix(".png")
    hardware = provenance.hardware(resolve_device("auto"), 1)
    if chosen.together:
        if not out.exists():
            parser.error(f"--together: {out} holds no growth that it could be added to; run without it first")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        if found["hardware"] != hardware:
            parser.error(f"--together: {out} is of {found['hardware']}, but this is {hardware}: run without it")
        found["together"] = together(plan)
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        _say_ratio(found)
        return
    found = {
        "what": "seconds of a training step against the batch and the pixels; one process and two",
        "started": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "hardware": hardware,
        "versions": provenance.versions(),
        "rounds": plan.rounds,
        "growth": measured(plan),
        "together": together(plan),
    }
    for growth in found["growth"].values():
        growth["exponent"] = {
            "batch": exponent(plan.batches, growth["batch"]),
            "pixels": exponent([side**2 for side in plan.sides], growth["pixels"]),
        }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    image.write_bytes(drawn(found))
    for family, growth in found["growth"].items():
        steep = growth["exponent"]
        print(f"{family}: time of a step ~ batch^{steep['batch']:.2f}, ~ pixels^{steep['pixels']:.2f}")
    _say_ratio(found)


def _say_ratio(found: Mapping[str, Any]) -> None:
    ratio = found["together"]["ratio"]
    print(
        f"two processes / one: {ratio['median']:.2f} times as fast ({ratio['range'][0]:.2f} to {ratio['range'][1]:.2f})"
    )


if __name__ == "__main__":
    main()
