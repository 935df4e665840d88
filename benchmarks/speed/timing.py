"""How speeds are compared: contestants take turns, round after round, each in a process of its own.

So a drift of the machine's speed meets all of them. A speed is the median over the rounds, with its range; a ratio is
taken within each round, of two that are alike: both compiled or neither, both loaded already, and it needs three
rounds. The ceiling, what the machine's matrix products or convolutions reach, takes its turn like a contestant, and a
speed is also a share of it: operations a second over those of the ceiling. A contestant prints one line of JSON at its
end; `other_cores` is what other processes used meanwhile.

    python -m benchmarks.speed.timing products      # what the machine reaches, in GFLOP/s
    python -m benchmarks.speed.timing "bf16 convolution"
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

import numpy as np
import torch

from benchmarks import fair
from benchmarks.harness import Json, load_data, path_of, plain_parser, recorded, write
from benchmarks.page.tables import Contest, Figure, LeftOut, Result, Seen, Speed, Target, speed_table
from benchmarks.peers.environments import PEERS, ROOT, ensure, versions
from morphogen.trainer.distributed import resolve_device

DISTURBED = 0.1  # cores used by other processes, above which a figure is not to be trusted


@dataclass(frozen=True)
class Contestant:
    """The module and the options that a process runs, in the environment of a peer or in ours.

    `gflop` are the operations of a picture, where the process does not count them itself.
    """

    command: tuple[str, ...]
    peer: str = ""
    what: str = ""
    gflop: float = 0.0


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


def compete(
    what: str,
    contestants: Mapping[str, Contestant],
    ceilings: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    asked: argparse.Namespace,
    *options: object,
) -> Json:
    """The record of a contest: each one's speed, the ceilings, and the ratios of the pairs of which both took part."""
    peers = sorted({one.peer for one in contestants.values()} - {""})
    before = recorded(*(versions(ensure(of), *(pin.partition("==")[0] for pin in PEERS[of].packages)) for of in peers))
    jobs = {**{kind: Contestant(("benchmarks.speed.timing", kind)) for kind in ceilings}, **contestants}
    found = in_turn(jobs, asked.rounds, "--seconds", asked.seconds, *options)
    tops = {
        key: [run[key] for run in found[kind]] for kind in ceilings for key in found[kind][0] if key != "other_cores"
    }
    return {
        "what": what,
        **before,
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "ceiling": {key: summary(values) for key, values in tops.items()},
        "rows": {name: _row(one, found[name]) for name, one in contestants.items()},
        "ratios": {f"{a} / {b}": ratio(found, a, b) for a, b in pairs if a in contestants and b in contestants},
    }


def _row(one: Contestant, runs: Sequence[Json]) -> Json:
    """What a contestant is and printed: its speed, a list of its seconds and of others' cores, the rest once."""
    each: Json = {key: [run[key] for run in runs] for key in runs[0] if key.endswith(("_s", "_cores"))}
    once = {key: value for key, value in runs[0].items() if key not in each}
    return {
        "what": one.what,
        "gflop_per_image": one.gflop,
        **once,
        **each,
        "images_per_s": summary(each["images_per_s"]),
    }


# ---------------------------------------------------------------------------------- summaries of the rounds


def summary(values: Sequence[float]) -> Json:
    """All values, their median and their range."""
    return {"rounds": list(values), "median": median(values), "range": [min(values), max(values)]}


def ratio(found: Mapping[str, Sequence[Json]], ours: str, theirs: str) -> Json:
    """Our speed as a multiple of theirs within the same round."""
    pairs = zip(found[ours], found[theirs], strict=True)
    return summary([a["images_per_s"] / b["images_per_s"] for a, b in pairs])


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
        found[name] = best
    return found


@torch.inference_mode()
def best_convolution(seconds: float, dtype: torch.dtype, batch: int = 64) -> float:
    """GFLOP/s of the best 3 x 3 convolution, forward, of the networks' widths and sizes; on a GPU where it is."""
    device, best = resolve_device("auto"), 0.0
    cases = ((32, 28), (64, 28), (64, 14), (128, 14), (128, 7), (256, 7))  # in the diffusion U-Nets
    layouts = [torch.channels_last, *[torch.contiguous_format][: dtype == torch.float32]]
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


CEILINGS: Mapping[str, Callable[[float], Json]] = {
    "products": best_product,
    "bf16 convolution": lambda seconds: {"bf16 convolution": best_convolution(seconds, torch.bfloat16)},
    "fp32 convolution": lambda seconds: {"fp32 convolution": best_convolution(seconds, torch.float32)},
}


# ------------------------------------------------------------------------------- on the results page


def speeds(record: Result) -> Iterator[Speed]:
    """The rows of a contest, with their shares of its ceilings."""
    for name, row in record["rows"].items():
        used = max((cores for cores in row.get("other_cores", []) if cores is not None), default=0.0)
        disturbed = f" (**disturbed**: other processes used {used:.2f} cores)" if used > DISTURBED else ""
        speed, gflop = row["images_per_s"], row["gflop_per_image"]
        shares = [
            f"{100 * speed['median'] * gflop / top['median']:.0f} %"
            + (f" of {kind}" if len(record["ceiling"]) > 1 else "")
            for kind, top in record["ceiling"].items()
        ]
        what = name if row.get("what", name) in ("", name) else f"{name}: {row['what']}"
        yield Speed(f"{what}{disturbed}", speed["median"], speed["range"], gflop, ", ".join(shares))


def about(record: Result) -> str:
    """How a contest was held, and its ceilings."""
    rounds = f"Interleaved rounds: {record['rounds']}" if "rounds" in record else "Rounds not recorded"
    rounds += f", of {record['seconds']:g} s each" if "seconds" in record else ""
    rounds += f", {record['started']}" if "started" in record else ""
    tops = ", ".join(f"{kind} {top['median']:.0f}" for kind, top in record["ceiling"].items())
    return f"{rounds}. Ceilings in the same run, GFLOP/s: {tops}."


def over(command: str, file: str, what: str, target: Target, ours: str, theirs: str) -> Figure:
    """Our speed as a multiple of theirs; void where there were too few rounds or the hardware was not recorded."""

    def read(record: Result) -> Seen:
        if theirs not in record["rows"]:
            raise LeftOut(theirs)
        found, rounds = record["ratios"][f"{ours} / {theirs}"], record.get("rounds", 1)
        unknown = [] if "hardware" in record else ["hardware not recorded"]
        void = fair.verdict(fair.too_few(rounds, fair.MIN_ROUNDS, "interleaved rounds"), unknown)
        low, high = found["range"]
        return Seen(found["median"], (low, high), f"{ours} / {theirs}", ".2f", void=void)

    return Figure(what, command, target, (file,), read)


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
    for name, found in record["ratios"].items():
        print(f"{name}: {in_words(found)}")


def in_words(ratio: Result) -> str:
    """The median and the range of a ratio."""
    low, high = ratio["range"]
    return f"{ratio['median']:.2f} ({low:.2f} to {high:.2f})"


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
    print(json.dumps(CEILINGS[asked.kind](asked.seconds)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = plain_parser(__doc__)
    found.add_argument("kind", choices=CEILINGS)
    found.add_argument("--seconds", type=float, default=8.0)
    found.add_argument("--pictures", help=argparse.SUPPRESS)  # given to all contestants
    return found


if __name__ == "__main__":
    main()
