"""Peak memory of `morphogen train vae --data mnist`, with and without compilation.

    python -m benchmarks.memory

Trains in a process of its own and reports the largest resident memory of one process, which the system keeps, and the
largest of that process and all that it started together (the compiler's workers too), which is sampled ten times a
second with shared pages counted once. Needs MORPHOGEN_DATA; Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import ROOT

RESULTS = Path(__file__).parent / "results"


def measure(steps: int, compile: str) -> dict[str, Any]:
    """Train for `steps` steps; peak memory in MB. Exits with what the training said if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        train = [sys.executable, "-m", "morphogen.cli", "train", "vae", "--data", "mnist", "--steps", str(steps)]
        log = Path(folder) / "log.txt"
        with log.open("w") as stream:
            command = [*train, "--compile", compile, "--out", f"{folder}/model"]
            start = time.perf_counter()
            child = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream)
            together_kb = 0
            while True:
                # Popen's own wait would drop the child's resource usage, that of its descendants included.
                ended, status, usage = os.wait4(child.pid, os.WNOHANG)
                if ended:
                    break
                together_kb = max(together_kb, sum(map(_resident_kb, _tree(child.pid))))
                time.sleep(0.1)
        if status:
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
        return {
            "compile": compile,
            "steps": steps,
            "peak_mb": usage.ru_maxrss * 1.024e-3,
            "peak_together_mb": together_kb * 1.024e-3,
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


def _resident_kb(pid: int) -> int:
    """Resident memory, each shared page as its share."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.json")
    chosen = parser.parse_args()

    import torch

    from morphogen.train import provenance

    found = {
        "what": "peak memory of `morphogen train vae --data mnist`, in MB (1e6 bytes)",
        "hardware": provenance.hardware(torch.device("cpu"), 1),
        "versions": provenance.versions(),
        "runs": [measure(chosen.steps, compile) for compile in ("off", "on")],
    }
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print("| compile | largest process MB | all together MB | s |\n| --- | ---: | ---: | ---: |")
    for run in found["runs"]:
        print(
            f"| {run['compile']} | {run['peak_mb']:,.0f} | {run['peak_together_mb']:,.0f} | {run['duration_s']:.0f} |"
        )


if __name__ == "__main__":
    main()
