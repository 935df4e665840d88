"""Ctrl-C, SIGTERM and closing the terminal (SIGHUP) end a run between two steps, never within a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from morphogen.core.errors import MorphogenError


class Interrupted(MorphogenError):
    """A signal ended the training, after a checkpoint and an unfinished artifact were saved."""


class Stop:
    """Whether a signal has asked for the end."""

    requested = False


class Skipped(BaseException):
    """Ctrl-C, or the end of its time, has ended work that can be left out. No other code is to catch this."""


@contextmanager
def skippable(most_s: float | None) -> Iterator[None]:
    """Within the block, a SIGINT raises `Skipped`, and so does the end of `most_s` seconds where there are alarms.

    In other threads than the main one this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def skip(number: int, frame: FrameType | None) -> None:
        raise Skipped

    before = {int(signal.SIGINT): signal.signal(signal.SIGINT, skip)}
    timed = most_s is not None and hasattr(signal, "setitimer")
    if timed:
        before[int(signal.SIGALRM)] = signal.signal(signal.SIGALRM, skip)
        signal.setitimer(signal.ITIMER_REAL, most_s or 0.0)
    try:
        yield
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def watched() -> Iterator[Stop]:
    """Within the block, SIGINT, SIGTERM and SIGHUP set a request; a second SIGINT acts as usual.

    Launchers send SIGTERM after SIGINT, and SIGKILL to processes that take too long. A SIGHUP that is ignored, as under
    `nohup`, stays ignored. Signals reach only the main thread; in other threads this changes nothing.
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
