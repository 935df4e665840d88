"""Ctrl-C, SIGTERM and a terminal that is closed (SIGHUP) end a run between two steps, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from morphogen.core.errors import MorphogenError


class Interrupted(MorphogenError):
    """Training was ended from outside, after saving a checkpoint and an unfinished artifact."""


class Stop:
    """Whether an end was asked for."""

    requested = False


@contextmanager
def watched() -> Iterator[Stop]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request; a second SIGINT acts as it always does.

    Launchers send SIGTERM after SIGINT, and SIGKILL to those that take too long. A SIGHUP that is ignored, as `nohup`
    has it, stays ignored. Signals reach the main thread only; in another one nothing is changed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {int(number): signal.getsignal(number) or signal.SIG_DFL for number in numbers}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
