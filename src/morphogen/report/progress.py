"""The progress of long work: a live bar on a terminal, plain lines elsewhere.

`watch` hands on the events that it shows, so the loop stays the caller's:
`for event in watch(trainer): ...`. The work matters more than its display: where this cannot be written (a closed
terminal, a full disk), nothing more is shown, and the work goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from morphogen.core.printable import one_line
from morphogen.report.tables import duration, number

QUIET_S = 10.0  # plain lines come at most this often


class ProgressEvent(Protocol):
    """The fields of an event that are shown; times are in seconds."""

    @property
    def step(self) -> int: ...
    @property
    def total(self) -> int | None: ...
    @property
    def elapsed_s(self) -> float: ...
    @property
    def remaining_s(self) -> float | None: ...
    @property
    def terms(self) -> Mapping[str, float]: ...
    @property
    def images_per_s(self) -> float | None: ...
    @property
    def warnings(self) -> Sequence[str]: ...


E = TypeVar("E", bound=ProgressEvent)


def watch(events: Iterable[E], *, label: str = "training", console: Console | None = None) -> Iterator[E]:
    """Show `events` on `console` (standard error by default) while handing them on.

    Warnings are printed once each, above the bar.
    """
    console = console or Console(stderr=True)
    view = _Bar(one_line(label), console) if console.is_terminal else _Lines(one_line(label), console)
    display = _Display(view, console)
    display.attempt(view.start)
    try:
        for event in events:
            display.attempt(lambda event=event: display.show(event))  # type: ignore[misc]
            yield event
    finally:
        display.attempt(view.stop, again=True)  # a thread that refreshes has to end


def line(event: ProgressEvent) -> str:
    """The parts of the loss, the speed and the remaining time, in one line."""
    parts = [f"{one_line(name)} {number(float(value))}" for name, value in event.terms.items()]
    if len(event.terms) > 1:
        parts.insert(0, f"loss {number(float(sum(event.terms.values())))}")
    if event.images_per_s:
        parts.append(f"{round(event.images_per_s):,} records/s")
    parts.append(f"{duration(event.remaining_s)} left" if event.remaining_s is not None else duration(event.elapsed_s))
    return "  ".join(parts)


class _Display:
    """The display of events. After its first failure it shows nothing more."""

    def __init__(self, view: _Bar | _Lines, console: Console) -> None:
        self._view, self._console = view, console
        self._shown: set[str] = set()
        self._works = True

    def attempt(self, action: Callable[[], None], again: bool = False) -> None:
        """Call it, if all went well so far, or `again` in any case."""
        if self._works or again:
            try:
                action()
            except Exception:  # of whatever kind: what is shown is not the work
                self._works = False

    def show(self, event: ProgressEvent) -> None:
        for note in getattr(event, "notes", ()):
            self._console.print(f"data: {one_line(note)}", markup=False, highlight=False, soft_wrap=True)
        for warning in event.warnings:
            if warning not in self._shown:
                self._shown.add(warning)
                said = f"warning: {one_line(warning)}"
                self._console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
        self._view.show(event)


class _Bar:
    def __init__(self, label: str, console: Console) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[steps]}", markup=False),
            TextColumn("{task.fields[line]}", markup=False, style="dim"),
        )
        self._progress = Progress(*columns, console=console, transient=False, refresh_per_second=4)
        self._task = self._progress.add_task(label, total=None, steps="", line="starting")

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def show(self, event: ProgressEvent) -> None:
        steps = f"{event.step:,}" + (f"/{event.total:,}" if event.total else "")
        self._progress.update(self._task, completed=event.step, total=event.total, steps=steps, line=line(event))


class _Lines:
    def __init__(self, label: str, console: Console) -> None:
        self._label, self._console = label, console
        self._last: ProgressEvent | None = None
        self._printed_at = -QUIET_S

    def start(self) -> None:
        pass

    def stop(self) -> None:
        if self._last is not None:
            self._print(self._last)

    def show(self, event: ProgressEvent) -> None:
        self._last = event
        if time.monotonic() - self._printed_at >= QUIET_S:
            self._print(event)

    def _print(self, event: ProgressEvent) -> None:
        self._printed_at, self._last = time.monotonic(), None
        steps = f"{event.step:,}" + (f"/{event.total:,}" if event.total else "")
        # soft_wrap: a log file has no width to wrap at.
        self._console.print(
            f"{self._label}  step {steps}  {line(event)}", markup=False, highlight=False, soft_wrap=True
        )
