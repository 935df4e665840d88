"""Run one of the fuzzers: damaged models, command lines, or strange folders and files.

    python tests/fuzz/fuzz_run.py artifacts --number 100 --seed 1
    python tests/fuzz/fuzz_run.py commands --seed 1 --only 37    # that one again, with all that it printed

Each item depends on its fuzzer, the seed and its number alone. The process imports everything, does everything once and
forks a child for each item, so it stays free of threads. The end is status 1 where anything was found.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", RAYON_NUM_THREADS="1")
os.environ.update(TOKENIZERS_PARALLELISM="false", TORCHDYNAMO_DISABLE="1", COLUMNS="120")

import argparse
import contextlib
import gc
import importlib
import io
import json
import pkgutil
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path += [str(Path(__file__).resolve().parents[1] / room) for room in ("cli", "data")]

from fuzz_findings import KINDS, Finding, Item
from fuzz_models import OF_RECORDS, SHAPES, good_models, make_models

import morphogen
from morphogen.cli import main
from morphogen.cli.main import run

FUZZERS = {"artifacts": "try_artifact", "commands": "try_command", "files": "try_files"}


def run_fuzzer() -> int:
    """Run, print each finding and a summary; the status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fuzzer", choices=sorted(FUZZERS))
    parser.add_argument("--number", type=int, default=100, help="how many items")
    parser.add_argument("--first", type=int, default=0, help="the number of the first item")
    parser.add_argument("--seed", type=int, default=None, help="a new one where none is given")
    parser.add_argument("--only", type=int, default=None, help="this item alone, with its output")
    parser.add_argument(
        "--models", type=Path, default=None, help="where fuzz_models.py has written; made where missing"
    )
    parser.add_argument("--scratch", type=Path, default=None, help="where items are made, and those with findings stay")
    parser.add_argument("--report", type=Path, default=None, help="write what was found as JSON")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-")) if options.scratch is None else options.scratch
    scratch = scratch.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    cache = scratch / "cache"
    cache.mkdir(exist_ok=True)
    os.environ.update(MORPHOGEN_CACHE=str(cache), TMPDIR=str(cache), HOME=str(scratch / "item/home"))
    tempfile.tempdir = str(cache)  # known already, and so no longer read from TMPDIR
    models_at = scratch / "models" if options.models is None else options.models.resolve()
    if not models_at.is_dir():
        _in_a_child(lambda: make_models(models_at))
    torch.set_num_threads(1)
    try_item = getattr(importlib.import_module(f"fuzz_{options.fuzzer}"), FUZZERS[options.fuzzer])
    _warm_up(models_at, scratch)
    numbers = range(options.first, options.first + options.number) if options.only is None else [options.only]
    print(f"{options.fuzzer}: seed {seed}, items {numbers[0]} to {numbers[-1]}, scratch {scratch}", flush=True)
    report = _run(options.fuzzer, try_item, numbers, seed, models_at, scratch, options.only is not None)
    if options.report is not None:
        options.report.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps({name: value for name, value in report.items() if name != "items"}, indent=2))
    return 1 if report["items"] else 0


def _run(
    fuzzer: str,
    try_item: Callable[..., Item],
    numbers: Sequence[int],
    seed: int,
    models_at: Path,
    scratch: Path,
    wordy: bool,
) -> dict[str, Any]:
    """Try all items; what was found."""
    models = good_models(models_at)
    start = time.monotonic()
    found: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    items = []
    shown: set[str] = set()
    largest = {"cpu_s": (0.0, 0), "memory_mb": (0.0, 0)}  # and the item that it belongs to
    for number in numbers:
        item = try_item(number, seed, models, scratch)
        statuses[str(item.statuses)] += 1
        for name, (most, _) in largest.items():
            if getattr(item, name) > most:
                largest[name] = round(getattr(item, name), 2), number
        found.update({finding.kind for finding in item.findings})
        if item.findings:
            items.append(_told(item, fuzzer))
            _keep(item, fuzzer, scratch)
        new = {_signature(finding) for finding in item.findings} - shown
        if new or wordy:  # each sort of finding once; the report has all
            shown |= new
            print(f"--- {fuzzer} --seed {seed} --only {number}: {item.statuses}")
            print("\n".join(f"    {line!r:.400}" for line in item.made))
            print("\n".join(f"  * {finding.kind}: {finding.seen!r:.500}" for finding in item.findings), flush=True)
        if wordy:
            print(item.printed.encode("utf-8", "backslashreplace").decode())
    taken = time.monotonic() - start
    return {
        "fuzzer": fuzzer,
        "seed": seed,
        "number": len(numbers),
        "found": {kind: found[kind] for kind in KINDS},
        "statuses": dict(statuses.most_common(12)),
        "largest": {name: {"value": most, "item": at} for name, (most, at) in largest.items()},
        "duration_s": round(taken, 1),
        "seconds_an_item": round(taken / len(numbers), 3),
        "items": items,
    }


def _signature(finding: Finding) -> str:
    """What two findings of one cause have in common."""
    return finding.kind + re.sub(r"'[^']*'|/[^ ]*|[^a-zA-Z ]", "", finding.seen)[:60]


def _told(item: Item, fuzzer: str) -> dict[str, Any]:
    again = f"python tests/fuzz/fuzz_run.py {fuzzer} --seed {item.seed} --only {item.number}"
    findings = [f"{finding.kind}: {finding.seen!r}" for finding in item.findings]
    return {"again": again, "made": [repr(line)[:500] for line in item.made], "findings": findings}


def _keep(item: Item, fuzzer: str, scratch: Path) -> None:
    """Leave what was made and printed where it can be looked at."""
    kept = scratch / "findings" / f"{fuzzer}-{item.seed}-{item.number}"
    kept.parent.mkdir(exist_ok=True)
    if not kept.exists() and (scratch / "item").exists():
        (scratch / "item").rename(kept)
    kept.mkdir(exist_ok=True)
    (kept / "OUTPUT.txt").write_bytes(item.printed.encode("utf-8", "surrogateescape"))


def _warm_up(models_at: Path, scratch: Path) -> None:
    """Import everything and do everything once, so that a child finds it done; no parallel work."""
    for module in pkgutil.walk_packages(morphogen.__path__, "morphogen."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)
    with contextlib.suppress(ImportError):
        for name in ("bert.modeling_bert", "clip.modeling_clip", "t5.modeling_t5", "gpt2.modeling_gpt2"):
            importlib.import_module(f"transformers.models.{name}")
    importlib.import_module("matplotlib.font_manager")  # which asks the system for its fonts, once on a machine
    from PIL import Image

    Image.init()
    out = scratch / "warm"
    main.parser()  # once for all children
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        run(["data", "inspect", SHAPES])
        for name, good in good_models(models_at).items():
            for line in (["show", str(good.path)], ["verify", str(good.path)]):
                run(line)
            if name in OF_RECORDS:
                continue  # polars starts threads
            if good.draw:
                run(["sample", str(good.path), *good.draw, "--out", str(out / f"{name}.npz"), "--overwrite"])
                run(["sample", str(good.path), *good.draw, "--out", str(out / f"{name}.png"), "--overwrite"])
            else:
                run(["reconstruct", str(good.path), "--data", SHAPES, "--out", str(out / f"{name}.npz"), "--overwrite"])
    gc.collect()
    gc.freeze()  # a child then copies fewer pages
    threads = os.listdir("/proc/self/task")
    if len(threads) > 1:
        raise SystemExit(f"{len(threads)} threads run in the process that forks: a child could wait for ever")


def _in_a_child(work: Callable[[], None]) -> None:
    """Training starts threads, which a process that forks must not have."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the models to damage could not be made")


if __name__ == "__main__":
    sys.exit(run_fuzzer())
