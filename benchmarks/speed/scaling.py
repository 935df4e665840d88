"""How the time of a training step grows with the batch and with the pixels, and what a second process brings.

    python -m benchmarks.speed.scaling              # 3 rounds, on all cores; nothing else may run meanwhile
    python -m benchmarks.speed.scaling --rounds 1   # where the machine is slow
    python -m benchmarks.speed.scaling --together   # one process and two alone; the rest of the result stays as it is
    python -m benchmarks.speed.scaling --quick      # toy sizes, to see that all of it runs

The default diffusion U-Net, GAN and VAE learn RGB pictures of `shapes` by the whole of `mg.train`, not compiled: first
32 x 32 at batches of 8 to 256, then 64 at a time with sides of 16 to 64. A trainer's first steps warm it up and are
not counted; a round gives the median of the others, and medians and ranges are taken over the rounds, in which all
sizes take turns. Proportional growth is one to one in the log-log plot, docs/images/growth.png. Then the U-Net at a
global batch of 64 by two processes of one thread each, which gloo joins, in turn with one process of one thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Plot

from benchmarks.harness import IMAGES, ONLY_STEPS, RESULTS, Json, path_of, plain_parser, read, recorded, training, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, Speed
from benchmarks.peers.environments import ROOT
from benchmarks.speed.timing import in_words, summary
from morphogen.report.canvas import COLORS, png, styled

IMAGE = IMAGES / "growth.png"
FAMILIES = ("diffusion", "gan", "vae")
WARM = 4  # steps that are not counted


@dataclass(frozen=True)
class Sizes:
    """Sizes, and how long each is measured in a round: `seconds`, and `steps` at least."""

    batches: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    side: int = 32
    sides: tuple[int, ...] = (16, 32, 64)
    batch: int = 64
    rounds: int = 3
    seconds: float = 5.0
    steps: int = 6
    together: int = 20  # steps of the comparison of one process with two


TOY = Sizes(batches=(2, 4), sides=(16, 32), batch=4, rounds=1, seconds=0.0, steps=2, together=2)


def step_s(family: str, side: int, batch: int, seconds: float, steps: int, out: Path, **recipe: Any) -> float:
    """The median seconds of a training step, over `seconds` and at least `steps` steps of a warm trainer."""
    recipe |= {"steps": 1_000_000, "batch_size": batch, "compile": "off", **ONLY_STEPS}
    events = training(family, f"shapes:size={side},n=600", out, recipe=recipe)
    laps: list[tuple[int, float]] = []  # steps made, and when: an event tells of one step or of several
    for event in events:
        if event.step >= WARM:
            laps.append((event.step, time.perf_counter()))
            if laps[-1][0] - laps[0][0] >= steps and laps[-1][1] - laps[0][1] >= seconds:
                break
    events.close()
    return median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(laps))


def measured(sizes: Sizes) -> dict[str, dict[str, list[Json]]]:
    """family -> "batch" and "pixels" -> the seconds of a step at each size."""
    pairs = [(sizes.side, batch) for batch in sizes.batches] + [(side, sizes.batch) for side in sizes.sides]
    cases = [(family, side, batch) for family in FAMILIES for side, batch in dict.fromkeys(pairs)]
    found: dict[tuple[str, int, int], list[float]] = {case: [] for case in cases}
    for index in range(sizes.rounds):
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                found[case].append(step_s(*case, sizes.seconds, sizes.steps, Path(folder) / "model"))
            family, side, batch = case
            print(f"round {index + 1}: {family}, {side} px, batch {batch}: {found[case][-1]:.4f} s a step", flush=True)

    def row(family: str, side: int, batch: int) -> Json:
        return {"side": side, "batch": batch, "step_s": summary(found[family, side, batch])}

    return {
        family: {
            "batch": [row(family, sizes.side, batch) for batch in sizes.batches],
            "pixels": [row(family, side, sizes.batch) for side in sizes.sides],
        }
        for family in FAMILIES
    }


def exponent(sizes: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> float:
    """e of step_s = c size^e, by least squares in the logarithms: 1 is proportional growth."""
    return float(np.polyfit(np.log(sizes), np.log([row["step_s"]["median"] for row in rows]), 1)[0])


def together(sizes: Sizes) -> Json:
    """The U-Net by one process of one thread, and by two that share the batch; ratios within a round."""
    one: list[float] = []
    two: list[float] = []
    for index in range(sizes.rounds):
        for processes, times in ((1, one), (2, two)):
            times.append(_step_s_of(processes, sizes))
            print(f"round {index + 1}: {processes} processes: {times[-1]:.4f} s a step", flush=True)
    return {
        "started": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "what": f"the default diffusion U-Net at {sizes.side} px, global batch {sizes.batch}, one thread a process",
        "one_step_s": summary(one),
        "two_step_s": summary(two),
        "ratio": summary([a / b for a, b in zip(one, two, strict=True)]),
    }


def _step_s_of(processes: int, sizes: Sizes) -> float:
    with tempfile.TemporaryDirectory() as folder:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        worker = ["-m", "benchmarks.speed.scaling", "--out", f"{folder}/model"]
        worker += ["--worker", str(sizes.side), str(sizes.batch), str(sizes.together)]
        command = [sys.executable, *(torchrun if processes > 1 else []), *worker]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return float(done.stdout.strip().splitlines()[-1])


@styled
def plot(found: Mapping[str, Any]) -> bytes:
    """The seconds of a step against the batch and against the pixels, beside proportional growth; a PNG."""
    fig = Plot(figsize=(9.0, 3.8), layout="constrained")
    FigureCanvasAgg(fig)
    panels, families = fig.subplots(1, 2, sharey=True), found["growth"]
    first, dashed = next(iter(families.values())), {"linestyle": "--", "linewidth": 0.9}
    for axes, against, key, label in zip(
        panels, ("batch", "pixels"), ("batch", "side"), ("batch", "pixels of a picture"), strict=True
    ):
        sizes = [row[key] for row in first[against]]
        x = np.array(sizes) ** (2 if key == "side" else 1)
        for color, (family, growth) in zip(COLORS, families.items(), strict=False):
            times = [row["step_s"] for row in growth[against]]
            y, ends = np.array([one["median"] for one in times]), np.array([one["range"] for one in times]).T
            name = f"{family}, {against}^{growth['exponent'][against]:.2f}"
            axes.errorbar(x, y, np.abs(ends - y), color=color, marker="o", markersize=4, capsize=2, label=name)
            axes.plot(x, y[-1] * x / x[-1], color=color, alpha=0.6, **dashed)
        axes.plot([], [], color="#5f6368", label="proportional growth, through the last point", **dashed)
        axes.set(xscale="log", yscale="log", xlabel=label)
        axes.set_xticks(x, [f"{size} x {size}" if key == "side" else f"{size}" for size in sizes])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.legend(loc="upper left", fontsize=8)
    side, batch = first["batch"][0]["side"], first["pixels"][0]["batch"]
    panels[0].set(ylabel="seconds of a training step", title=f"{side} x {side}, RGB")
    panels[1].set(title=f"batch {batch}")
    return png(fig)


# ------------------------------------------------------------------------------- on the results page


def _speeds(record: Result) -> Iterator[Speed]:
    for family, growth in record["growth"].items():
        for row in growth["batch"]:
            batch, time_s = row["batch"], row["step_s"]
            ends = sorted(batch / seconds for seconds in time_s["range"])
            yield Speed(f"{family}, {row['side']} px, batch {batch}", batch / time_s["median"], ends)


def _about(record: Result) -> str:
    return f"Rounds: {record['rounds']}; {record['started']}."


def _step_tables(record: Result) -> str:
    """Seconds of a step at each size."""
    families = record["growth"]
    tables = []
    for against, size in (("batch", "batch"), ("pixels", "side")):
        rows = next(iter(families.values()))[against]
        head = f"| ms a step, {size} | {' | '.join(str(row[size]) for row in rows)} | grows as |"
        lines = [head, "| --- |" + " ---: |" * (len(rows) + 1)]
        for family, one in families.items():
            times = " | ".join(f"{1e3 * row['step_s']['median']:.3g}" for row in one[against])
            lines.append(f"| {family} | {times} | {against}^{one['exponent'][against]:.2f} |")
        tables.append("\n".join(lines))
    return "\n\n".join([*tables, "![time of a step against batch and pixels](../docs/images/growth.png)"])


def _together(record: Result) -> Seen:
    ratio = record["together"]["ratio"]
    low, high = ratio["range"]
    return Seen(ratio["median"], (low, high), record["together"]["what"], ".2f")


_WHAT = "Training the default networks at growing batches, RGB"
CONTESTS = (tables.Contest("growth", _WHAT, "speed.scaling", _speeds, _about, _step_tables),)
_figure = tables.of("speed.scaling", "growth")
FIGURES = (_figure("two processes of one core over one, U-Net, global batch 64", tables.at_least(1.6), _together),)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--quick", action="store_true", help="toy sizes, no figure to be quoted")
    found.add_argument("--rounds", type=int, default=Sizes.rounds, help="each gives a median of its own")
    found.add_argument("--together", action="store_true", help="measure one process and two alone")
    found.add_argument("--out", type=Path, help="where to write; growth.json among the results, the plot in docs/")
    found.add_argument("--worker", type=int, nargs=3, metavar=("SIDE", "BATCH", "STEPS"), help=argparse.SUPPRESS)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sizes, or one process and two; or be a worker of the latter."""
    of = parser()
    chosen = of.parse_args(arguments)
    if chosen.worker:
        side, batch, steps = chosen.worker
        # several processes report a step only where the log does
        seconds = step_s("diffusion", side, batch, 0.0, steps, chosen.out, device="cpu", log_every=WARM)
        if os.environ.get("RANK", "0") == "0":
            print(seconds)
        return
    if chosen.rounds < 1:
        of.error(f"--rounds: expected at least 1, got {chosen.rounds}")
    sizes = TOY if chosen.quick else Sizes(rounds=chosen.rounds)
    out = chosen.out or path_of("growth", chosen.quick)
    here = recorded()
    if chosen.together:
        if not out.exists():
            of.error(f"--together: {out} holds no growth that it could be added to; run without it first")
        found = read(out)
        if found["hardware"] != here["hardware"]:
            of.error(f"--together: {out} is of {found['hardware']}, but this is {here['hardware']}: run without it")
        found["together"] = together(sizes)
    else:
        found = {
            "what": "seconds of a training step against the batch and the pixels; one process and two",
            **here,
            "rounds": sizes.rounds,
            "growth": measured(sizes),
            "together": together(sizes),
        }
        for family, growth in found["growth"].items():
            growth["exponent"] = {
                "batch": exponent(sizes.batches, growth["batch"]),
                "pixels": exponent([side**2 for side in sizes.sides], growth["pixels"]),
            }
            grows = growth["exponent"]
            print(f"{family}: time of a step ~ batch^{grows['batch']:.2f}, ~ pixels^{grows['pixels']:.2f}")
        image = IMAGE if out.parent == RESULTS else out.with_suffix(".png")
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(plot(found))
    write(out, found)
    print(f"two processes / one: {in_words(found['together']['ratio'])}")


if __name__ == "__main__":
    main()
