"""Work in a forked child of a warm process, under limits of memory, time, sockets, processes and files.

The parent has imported all that is slow and has run no parallel work, so a fork costs some milliseconds and a child
begins in the same state each time. What the child prints goes to a file; what it returns, and what its watch saw,
comes through a pipe. Linux only.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz_watch import Watch

MAX_MB = 2048  # of memory beyond what the parent has
MAX_CPU_S = 20
MAX_WALL_S = 90  # the machine may be busy: only a child that waits for something lasts so long
MAX_PRINTED = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """How a child ended: "done", "raised", "too long" or "signal N"; what it returned, printed and did."""

    end: str
    result: Any
    printed: str
    violations: tuple[str, ...]
    cpu_s: float
    memory_mb: float


def run_in_child(
    work: Callable[[], Any], writable: Sequence[Path], scratch: Path, most_cpu_s: int = MAX_CPU_S
) -> Outcome:
    """Run `work`, whose result is JSON, in a child that may change files below `writable` alone."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile(dir=scratch) as printed:
        child = os.fork()
        if child == 0:
            os.close(reading)
            _be_the_child(work, Watch(writable), printed.fileno(), writing, most_cpu_s)
        os.close(writing)
        end, usage = _wait(child)
        with open(reading, "rb") as pipe:
            before, _, said = pipe.read().partition(b"\n")
        printed.seek(0)
        text = printed.read(MAX_PRINTED).decode("utf-8", "surrogateescape")
    try:
        told = json.loads(said)
    except ValueError:
        told = {"end": "ended early", "result": None, "violations": []}
    return Outcome(
        end if end != "exit 0" else told["end"],
        told["result"],
        text,
        tuple(told["violations"]),
        usage.ru_utime + usage.ru_stime,
        max(0.0, usage.ru_maxrss / 1024 - float(before or 0)),
    )


def _be_the_child(work: Callable[[], Any], watch: Watch, printed: int, writing: int, most_cpu_s: int) -> None:
    """Never returns."""
    told: dict[str, Any] = {"end": "done", "result": None}
    try:
        os.setsid()  # a group of its own, to be ended as one
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        most = int(_own_mb("VmData") + MAX_MB + 1024) << 20  # what passes 2 GB is measured, what passes 3 is refused
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (most_cpu_s, most_cpu_s + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
        os.write(writing, f"{_own_mb('VmRSS')}\n".encode())
        watch.begin()
        told["result"] = work()
    except BaseException:
        told["end"] = "raised"
        traceback.print_exc()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        with open(writing, "w") as pipe:
            pipe.write(json.dumps({**told, "violations": watch.violations}))
    finally:
        os._exit(0)


def _wait(child: int) -> tuple[str, resource.struct_rusage]:
    """How the child ended, and what it used; it is ended where it takes too long."""
    handle = os.pidfd_open(child)
    try:
        deadline = time.monotonic() + MAX_WALL_S
        ready = []
        while not ready and time.monotonic() < deadline:
            ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.killpg(child, signal.SIGKILL)
        _, status, usage = os.wait4(child, 0)
    finally:
        os.close(handle)
    if not ready or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)):
        return "too long", usage
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}", usage
    return f"exit {os.WEXITSTATUS(status)}", usage


def _own_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return float(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {name}")
