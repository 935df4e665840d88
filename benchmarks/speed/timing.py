"""How speeds are compared: contestants take turns, round after round, each in a process of its own.

So a drift of the machine's speed meets all of them. A speed is the median over the rounds, with its range; a ratio is
taken within each round. The ceiling, what the machine's matrix products or convolutions reach, takes its turn like a
contestant, and a speed is also a share of it: operations a second over those of the ceiling. A contestant prints one
line of JSON at its end; `other_cores` is what other processes used meanwhile.

    python -m benchmarks.speed.timing products      # what the machine reaches, in GFLOP/s
    python -m benchmarks.speed.timing convolutions
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Json, load_data, path_of, plain_parser, write
from benchmarks.page.tables import Contest, speed_table
from benchmarks.peers.environments import PEERS, ROOT, ensure, versions
from morphogen.trainer.distributed import resolve_device

DISTURBED = 0.1  # cores used by other processes, above which a figure is not to be trusted
CEILING = "ceiling"


@dataclass(frozen=True)
class Contestant:
    """The module and the options that a process runs, in the environment of a peer or in ours."""

    command: tuple[str, ...]
    peer: str = ""
    what: str = ""


def in_turn(contestants: Mapping[str, Contestant], rounds: int, *options: object) -> dict[str, list[Json]]:
    """What each contestant finds, each once a round; `options` are given to all."""
    pythons = {c.peer: ensure(c.peer) if c.peer else Path(sys.executable) for c in contestants.values()}
    found: dict[str, list[Json]] = {name: [] for name in contestants}
    for index in range(rounds):
        for name, one in contestants.items():
            command = [str(part) for part in (pythons[one.peer], "-m", *one.command, *options)]
            found[name].append(_run(name, command))
            print(f"round {index + 1}: {name}: {json.dumps(found[name][-1])}", file=sys.stderr, flush=True)
    return found


def _run(name: str, command: Sequence[str]) -> Json:
    busy, own, start = _busy_s(), _children_s(), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{name} failed: {' '.join(command)}\n{done.stderr[-3000:]}")
    others = None if busy is None else ((_busy_s() or 0.0) - busy - (_children_s() - own)) / wall
    return {**json.loads(done.stdout.strip().splitlines()[-1]), "other_cores": others}


def _busy_s() -> float | None:
    """Seconds that all cores together were busy since the start of the machine; None where it does not say."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    user, nice, system, _, _, interrupt, soft = map(int, stat.read_text(encoding="utf-8").split()[1:8])
    return (user + nice + system + interrupt + soft) / os.sysconf("SC_CLK_TCK")


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def versions_of(contestants: Mapping[str, Contestant]) -> dict[str, str]:
    """The versions of all that the contestants' environments were made for."""
    found: dict[str, str] = {}
    for peer in sorted({one.peer for one in contestants.values()} - {""}):
        found |= versions(ensure(peer), *(pin.partition("==")[0] for pin in PEERS[peer].packages))
    return found


# ---------------------------------------------------------------------------------- summaries of the rounds


def summary(values: Sequence[float]) -> Json:
    """All values, their median and their range."""
    return {"rounds": list(values), "median": median(values), "range": [min(values), max(values)]}


def ratio(found: Mapping[str, Sequence[Json]], ours: str, theirs: str) -> Json:
    """Our speed as a multiple of theirs within the same round."""
    pairs = zip(found[ours], found[theirs], strict=True)
    return summary([a["images_per_s"] / b["images_per_s"] for a, b in pairs])


def in_words(ratio: Mapping[str, Any]) -> str:
    """The median and the range of a ratio."""
    low, high = ratio["range"]
    return f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})"


def rows(found: Mapping[str, Sequence[Json]], ceiling_gflops: float) -> Json:
    """The median speed of each contestant, its range, and the share of the ceiling that it reaches."""
    of = {}
    for name, runs in found.items():
        if name != CEILING:
            rates = [run["images_per_s"] for run in runs]
            gflops = median(rates) * runs[0]["gflop_per_image"]
            one = {**runs[0], "images_per_s": median(rates), "range": [min(rates), max(rates)]}
            of[name] = {**one, "gflops": gflops, "share_of_ceiling": gflops / ceiling_gflops}
    return of


def for_seconds(seconds: float, work: Callable[[], object]) -> tuple[int, float]:
    """How often the work was done in at least so many seconds, and how many they were."""
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or not done:
        work()
        done += 1
    return done, spent


# -------------------------------------------------------------------------------------------------- ceilings


def best_product(seconds: float) -> Json:
    """The best GFLOP/s of square matrix products, in each precision."""
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        best = 0.0
        for n in (512, 1024):
            a, b, out = (torch.randn(n, n).to(dtype) for _ in range(3))
            torch.mm(a, b, out=out)
            until = time.perf_counter() + min(seconds, 8.0) / 4
            while time.perf_counter() < until:
                start = time.perf_counter()
                for _ in range(5):
                    torch.mm(a, b, out=out)
                best = max(best, 5 * 2.0 * n**3 / (time.perf_counter() - start) / 1e9)
        found[f"{name}_gflops"] = best
    return found


NETWORK = ((32, 28), (64, 28), (64, 14), (128, 14), (128, 7), (256, 7))  # widths and sizes in the diffusion U-Nets


@torch.inference_mode()
def best_convolution(
    seconds: float,
    cases: Sequence[tuple[int, int]] = NETWORK,
    dtype: torch.dtype = torch.bfloat16,
    layouts: Sequence[torch.memory_format] = (torch.channels_last,),
    batch: int = 64,
) -> float:
    """GFLOP/s of the best 3 x 3 convolution, forward, of these widths and sizes; on a GPU where there is one."""
    device, best = resolve_device("auto"), 0.0
    for width, size in cases:
        for layout in layouts:
            x = torch.randn(batch, width, size, size).to(device, dtype, memory_format=layout)
            conv = torch.nn.Conv2d(width, width, 3, padding=1, device=device, dtype=dtype)
            conv.to(memory_format=layout)  # type: ignore[call-overload]
            conv(x)
            start = time.perf_counter()
            done, _ = for_seconds(seconds / len(cases) / len(layouts), partial(conv, x))
            if device.type == "cuda":
                torch.cuda.synchronize()
            best = max(best, 2.0 * 9 * width**2 * size**2 * batch * done / (time.perf_counter() - start) / 1e9)
    return best


def ceiling(kind: str) -> dict[str, Contestant]:
    """What the machine reaches in "products" or "convolutions", which takes its turn among the contestants."""
    return {CEILING: Contestant(("benchmarks.speed.timing", kind))}


# ---------------------------------------------------------------------------------------------- command line


def speed_parser(doc: str | None, contests: Mapping[str, float]) -> argparse.ArgumentParser:
    """The options of a topic of speed: its contests, each with its usual seconds."""
    found = plain_parser(doc)
    found.add_argument("contest", choices=contests)
    found.add_argument("--rounds", type=int, default=3)
    found.add_argument("--seconds", type=float, help=f"counted for each contestant in each round (default: {contests})")
    found.add_argument("--quick", action="store_true", help="one short round, to see that all of it runs")
    found.add_argument("--out", type=Path, help="where the result goes")
    found.add_argument("--inside", help=argparse.SUPPRESS)  # a contestant of ours, in a process of its own
    found.add_argument("--pictures", help=argparse.SUPPRESS)  # which it gets like all
    return found


def parsed(
    parser: argparse.ArgumentParser, contests: Mapping[str, float], arguments: Sequence[str] | None
) -> argparse.Namespace:
    """The options; a quick run has one short round."""
    asked = parser.parse_args(arguments)
    if asked.rounds < 1:
        parser.error(f"--rounds: expected at least 1, got {asked.rounds}")
    asked.seconds = contests[asked.contest] if asked.seconds is None else asked.seconds
    if asked.quick:
        asked.rounds, asked.seconds = 1, min(asked.seconds, 1.0)
    return asked


def finish(contest: Contest, record: Json, asked: argparse.Namespace) -> None:
    """Write the result and print it as the results page has it."""
    write(asked.out or path_of(contest.file, asked.quick), record)
    print(speed_table(contest, {contest.file: record}))
    for name, found in record.get("ratios", {}).items():
        print(f"{name}: {in_words(found)}")


@contextlib.contextmanager
def stored(data: str, records: int | None = None) -> Iterator[Path]:
    """The training pictures of a named set as a file that all contestants read, while the context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pictures.npy"
        np.save(path, load_data(data).train.stored[:records].numpy())
        yield path


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a ceiling."""
    asked = parser().parse_args(arguments)
    products = asked.kind == "products"
    print(json.dumps(best_product(asked.seconds) if products else {"gflops": best_convolution(asked.seconds)}))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("kind", choices=["products", "convolutions"])
    found.add_argument("--seconds", type=float, default=8.0)
    found.add_argument("--pictures", help=argparse.SUPPRESS)  # given to all contestants
    return found


if __name__ == "__main__":
    main()
