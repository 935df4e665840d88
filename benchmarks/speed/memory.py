"""Peak memory of `morphogen train vae --data mnist` and whether it is flat over time, with and without compilation.

    python -m benchmarks.speed.memory

Trains in a process of its own and reports the largest resident memory of one process, which the system keeps, and the
largest of that process and all that it started together (the compiler's workers too), which is sampled ten times a
second with shared pages counted once. The same samples of the training process tell its largest memory in each quarter
of the steps; growth is the last quarter's less the second's, when all has been in use once. The log tells the step.
Needs MORPHOGEN_DATA; Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Json, path_of, plain_parser, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen
from benchmarks.peers.environments import ROOT

FLAT = 0.05  # growth from the second to the last quarter of a training, as a share of its peak, that still is flat


def measure(steps: int, compiled: str) -> Json:
    """Train for `steps` steps; memory in MB. Exits with what the training said if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        train = [sys.executable, "-m", "morphogen.cli", "train", "vae", "--data", "mnist", "--steps", str(steps)]
        log = Path(folder) / "log.txt"
        with log.open("w") as stream:
            command = [*train, "--compile", compiled, "--out", f"{folder}/model"]
            start = time.perf_counter()
            child = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream)
            together_kb, quarters_kb = 0, [0] * 4
            while True:
                # Popen's own wait would drop the child's resource usage, that of its descendants included.
                ended, status, usage = os.wait4(child.pid, os.WNOHANG)
                if ended:
                    break
                resident_kb = [_resident_kb(pid) for pid in _tree(child.pid)] or [0]  # the training's own first
                together_kb = max(together_kb, sum(resident_kb))
                quarter = min(3, 4 * _step(Path(folder) / "model/checkpoint/log.jsonl") // steps)
                quarters_kb[quarter] = max(quarters_kb[quarter], resident_kb[0])
                time.sleep(0.1)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
        return {
            "compile": compiled,
            "steps": steps,
            "peak_mb": usage.ru_maxrss * 1.024e-3,
            "peak_together_mb": together_kb * 1.024e-3,
            "quarters_mb": [kb * 1.024e-3 for kb in quarters_kb],
            "growth_mb": (quarters_kb[3] - quarters_kb[1]) * 1.024e-3 if quarters_kb[1] else None,  # None: too short
            "duration_s": round(time.perf_counter() - start, 1),
        }


def _tree(pid: int) -> list[int]:
    """A process and all that it started, as far as they still run."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended meanwhile
        return []
    return [pid, *(p for child in children for p in _tree(child))]


def _step(log: Path) -> int:
    """The last step that the log of a training holds; 0 before its first line."""
    lines = log.read_text(encoding="utf-8").split("\n")[:-1] if log.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def _resident_kb(pid: int) -> int:
    """Resident memory, each shared page as its share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _peak(record: Result) -> Seen:
    peaks = {run["compile"]: run["peak_mb"] for run in record["runs"]}
    beside = ", ".join(f"compile {name}: {peak:,.0f}" for name, peak in peaks.items())
    return Seen(max(peaks.values()), None, f"{beside}; {record['runs'][0]['steps']:,} steps", ",.0f")


def _flat(record: Result) -> Seen:
    runs = [run for run in record["runs"] if run["growth_mb"] is not None]
    if not runs:
        raise KeyError("growth_mb")
    quarters = [f"compile {run['compile']}: {', '.join(f'{mb:,.0f}' for mb in run['quarters_mb'])} MB" for run in runs]
    return Seen(max(run["growth_mb"] / run["peak_mb"] for run in runs), None, "; ".join(quarters), ".1%")


_figure = tables.of("speed.memory", "memory")
FIGURES = (
    _figure(
        "peak memory of training a VAE on MNIST, largest process, MB", tables.at_most(1500.0, "at most 1,500"), _peak
    ),
    _figure(
        "memory over time: growth from the second to the last quarter of the steps",
        tables.at_most(FLAT, f"flat: at most {100 * FLAT:g} % of the peak"),
        _flat,
    ),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("--steps", type=int, default=1000)
    found.add_argument("--quick", action="store_true", help="20 steps, to see that all of it runs")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train without and with compilation, and write what was measured."""
    chosen = parser().parse_args(arguments)
    runs = [measure(20 if chosen.quick else chosen.steps, compiled) for compiled in ("off", "on")]
    record = {"what": "memory of `morphogen train vae --data mnist`, in MB (1e6 bytes)", "runs": runs}
    write(path_of("memory", chosen.quick), record)
    print(tables.table(FIGURES, {"memory": record}))


if __name__ == "__main__":
    main()
