"""Damaged models, command lines and strange data by the thousand, and what they did that nothing may do.

    python -m benchmarks.trust.fuzzing --artifacts 10000 --commands 10000 --files 2000

The fuzzers are those of tests/fuzz, which `make test` runs with few items and `make test-slow` with many. Each item is
tried in a forked child of a warm process under limits of memory, time, sockets, processes and files. The table counts
the items of each kind of finding; benchmarks/results/trust.json has them with the commands that make them again. A
fuzzer with no items keeps its last report. Needs no data; Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Json, path_of, plain_parser, write
from benchmarks.page import tables
from benchmarks.page.tables import Result, Seen, at_most
from benchmarks.peers.environments import ROOT

FUZZ = ROOT / "tests/fuzz"
NUMBERS = {"artifacts": 10_000, "commands": 10_000, "files": 2_000}


def _seen(record: Result) -> Seen:
    """Findings of all kinds together, and how many items were tried."""
    tried = ", ".join(f"{one['number']:,} {one['fuzzer']}" for one in record["fuzzers"])
    return Seen(sum(sum(one["found"].values()) for one in record["fuzzers"]), None, tried, ".0f")


_figure = tables.of("trust.fuzzing", "trust")
FIGURES = (_figure("findings in damaged models, command lines and data", at_most(0.0, "none"), _seen),)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    for fuzzer, number in NUMBERS.items():
        found.add_argument(f"--{fuzzer}", type=int, default=number)
    found.add_argument("--seed", type=int, default=None, help="a new one where none is given")
    found.add_argument("--processes", type=int, default=1)
    found.add_argument("--quick", action="store_true", help="a few items, to see that all of it runs")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all three, one after the other, print the table and write the result."""
    asked = parser().parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if asked.seed is None else asked.seed
    numbers = {fuzzer: 10 if asked.quick else getattr(asked, fuzzer) for fuzzer in NUMBERS}
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trust-") as folder:
        models = Path(folder) / "models"
        subprocess.run([sys.executable, FUZZ / "fuzz_models.py", models], check=True, capture_output=True)
        reports = [
            _fuzz(fuzzer, number, seed, asked.processes, models, Path(folder))
            for fuzzer, number in numbers.items()
            if number
        ]
    path = path_of("trust", asked.quick)
    before = json.loads(path.read_text(encoding="utf-8"))["fuzzers"] if path.exists() else []
    tried = {report["fuzzer"] for report in reports}
    record = {
        "what": "findings of the fuzzers of tests/fuzz",
        "duration_s": round(time.monotonic() - start, 1),
        "processes": asked.processes,
        "cores": os.cpu_count(),
        "fuzzers": [report for report in before if report["fuzzer"] not in tried] + reports,
    }
    write(path, record)
    _print(reports)


def _fuzz(fuzzer: str, number: int, seed: int, processes: int, models: Path, folder: Path) -> Json:
    """One fuzzer, its items shared out over processes; their reports as one."""
    share = -(-number // processes)
    running = []
    for i, first in enumerate(range(0, number, share)):
        scratch, report = folder / f"{fuzzer}-{i}", folder / f"{fuzzer}-{i}.json"
        command = [sys.executable, str(FUZZ / "fuzz_run.py"), fuzzer, "--seed", str(seed), "--first", str(first)]
        command += ["--number", str(min(share, number - first)), "--models", str(models)]
        command += ["--scratch", str(scratch), "--report", str(report)]
        running.append((subprocess.Popen(command), report))
    for process, _ in running:
        if process.wait() not in (0, 1):
            raise SystemExit(f"the fuzzer of {fuzzer} failed; its message is above.")
    reports = [json.loads(report.read_text(encoding="utf-8")) for _, report in running]
    whole: Json = {"fuzzer": fuzzer, "number": number, "seed": seed, "found": {}, "statuses": {}}
    for report in reports:
        for counts in ("found", "statuses"):
            for name, n in report[counts].items():
                whole[counts][name] = whole[counts].get(name, 0) + n
    whole["duration_s"] = max(report["duration_s"] for report in reports)
    items = json.dumps([item for report in reports for item in report["items"]])
    whole["items"] = json.loads(items.replace(tempfile.gettempdir(), "TMPDIR"))
    return whole


def _print(reports: list[Json]) -> None:
    numbers = [f"{report['number']:,} {report['fuzzer']}" for report in reports]
    print(f"{'':32}" + "".join(f"{name:>20}" for name in numbers))
    for kind in reports[0]["found"]:
        print(f"{kind:32}" + "".join(f"{report['found'][kind]:>20,}" for report in reports))
    print(f"{'seconds':32}" + "".join(f"{report['duration_s']:>20,.0f}" for report in reports))


if __name__ == "__main__":
    main()
