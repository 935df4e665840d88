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
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from morphogen.core.printable import one_line
from morphogen.report.tables import duration, number

QUIET_S = 10.0  # plain lines come at most this often
_SHORTEST_BAR, _LONGEST_BAR = 6, 24


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


def line(event: ProgressEvent, width: int | None = None) -> str:
    """Steps and the remaining time, which are never cut; then what `width` has room for: speed, loss, its parts."""
    time_left = duration(event.elapsed_s) if event.remaining_s is None else f"{duration(event.remaining_s)} left"
    said = f"step {steps(event)}  {time_left}"
    for more in _details(event):
        if width is not None and len(said) + 2 + len(more) > width:
            break
        said += f"  {more}"
    return said


def bar_line(event: ProgressEvent, label: str, width: int, mark: str = "━", rest: str = "─") -> str:
    """`line` after a bar and, where there is room, the label; at most `width` characters, if that holds the steps."""
    share = 0.0 if not event.total else min(1.0, event.step / event.total)
    room = width - len(line(event, 0))
    if room < _SHORTEST_BAR + 2:
        return line(event, width)
    named = f"{label}  " if room >= len(label) + 2 + _LONGEST_BAR + 2 else ""
    long = min(_LONGEST_BAR, room - len(named) - 2)
    done = round(share * long)
    return f"{named}{mark * done}{rest * (long - done)}  {line(event, width - len(named) - long - 2)}"


def steps(event: ProgressEvent) -> str:
    """The steps that are done, of how many."""
    return f"{event.step:,}" + (f"/{event.total:,}" if event.total else "")


def _details(event: ProgressEvent) -> Iterator[str]:
    if event.images_per_s:
        yield f"{round(event.images_per_s):,} records/s"
    if len(event.terms) > 1:
        yield f"loss {number(float(sum(event.terms.values())))}"
    for name, value in event.terms.items():
        yield f"{one_line(name)} {number(float(value))}"


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
        for mended in getattr(event, "mended", ()):
            said = f"no longer so: {one_line(mended)}"
            self._console.print(said, style="green", markup=False, highlight=False, soft_wrap=True)
        for warning in event.warnings:
            if warning not in self._shown:
                self._shown.add(warning)
                said = f"warning: {one_line(warning)}"
                self._console.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
        self._view.show(event)


class _Bar:
    def __init__(self, label: str, console: Console) -> None:
        self._progress = Progress(_Line(label, console), console=console, transient=False, refresh_per_second=4)
        self._task = self._progress.add_task(label, total=None, event=None)

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def show(self, event: ProgressEvent) -> None:
        self._progress.update(self._task, completed=event.step, total=event.total, event=event)


class _Line(ProgressColumn):
    """The whole line, as wide as the console is now."""

    max_refresh = None

    def __init__(self, label: str, console: Console) -> None:
        super().__init__()
        self._label, self._console = label, console

    def render(self, task: Task) -> Text:
        event, width = task.fields["event"], self._console.width - 1
        marks = ("━", "─") if "utf" in (self._console.encoding or "").lower() else ("#", "-")
        said = f"{self._label}  starting"
        if event is not None:
            said = bar_line(event, getattr(event, "label", self._label), width, *marks)
        return Text(said, no_wrap=True, overflow="crop")


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
        # soft_wrap: a log file has no width to wrap at.
        label = getattr(event, "label", self._label)
        self._console.print(f"{label}  {line(event)}", markup=False, highlight=False, soft_wrap=True)
