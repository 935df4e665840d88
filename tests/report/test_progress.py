"""Progress: events pass through unchanged and in order; what is shown is what they say."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from morphogen.report import progress


@dataclass(frozen=True)
class Event:
    step: int
    total: int | None = 100
    elapsed_s: float = 1.0
    remaining_s: float | None = 83.0
    terms: dict[str, float] = field(default_factory=lambda: {"reconstruction": 80.25, "kl": 9.5})
    images_per_s: float | None = 12345.6
    warnings: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def shown(events: list[Event], terminal: bool = False) -> tuple[list[Event], str]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=160)
    return list(progress.watch(events, label="vae", console=console)), out.getvalue()


def test_a_line_holds_the_loss_its_parts_the_speed_and_the_time_left() -> None:
    rest = "12,346 records/s  loss 89.75  reconstruction 80.25  kl 9.5"
    assert progress.line(Event(3)) == f"step 3/100  1 min 23 s left  {rest}"
    assert progress.line(Event(3, remaining_s=None, terms={}, images_per_s=None)) == "step 3/100  1.0 s"


@pytest.mark.parametrize("width", range(1, 161))
def test_steps_and_time_left_are_never_cut_and_the_rest_is_as_there_is_room(width: int) -> None:
    """A GAN's terms have long names. What is cut is cut at a whole number."""
    terms = {"discriminator/pairs": 0.4195, "discriminator/r1": 1.5, "generator/adversarial": 1.25}
    event = Event(1311, total=2828, terms=terms)
    said = progress.bar_line(event, "gan", width)
    assert "step 1,311/2,828  1 min 23 s left" in said
    assert len(said) <= max(width, len("step 1,311/2,828  1 min 23 s left"))
    assert ("━" in said) is (width >= 41)
    assert set(said.split("left")[1].split("  ")) <= {
        "",
        "12,346 records/s",
        "loss 3.17",
        "discriminator/pairs 0.4195",
        "discriminator/r1 1.5",
        "generator/adversarial 1.25",
    }


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_terminal_shows_the_whole_line(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width)
    list(progress.watch([Event(100)], label="vae", console=console))
    assert "step 100/100  1 min 23 s left" in out.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_events_pass_through_and_warnings_appear_once(terminal: bool) -> None:
    events = [Event(i, warnings=["the posterior [collapsed]"] * (i > 2)) for i in range(1, 6)]
    events[0] = Event(1, notes=("20 files: 20 [records]",))
    seen, text = shown(events, terminal)
    assert seen == events
    assert text.count("data: 20 files: 20 [records]") == 1
    assert text.count("warning: the posterior [collapsed]") == 1


def test_without_a_terminal_the_first_and_the_last_event_are_plain_lines() -> None:
    _, text = shown([Event(i) for i in range(1, 101)])
    lines = text.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["step 1/100", "step 100/100"]
    assert "\x1b" not in text


def test_watching_is_lazy_and_an_error_passes_through_after_the_last_line() -> None:
    def failing() -> Iterator[Event]:
        yield Event(1)
        yield Event(2)
        raise KeyboardInterrupt

    out = io.StringIO()
    watched = progress.watch(failing(), console=Console(file=out))
    assert out.getvalue() == ""
    with pytest.raises(KeyboardInterrupt):
        list(watched)
    assert "step 2/100" in out.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_that_fails_ends_the_showing_and_not_the_work(terminal: bool) -> None:
    """A disk that is full, a terminal that is gone, a character that the encoding lacks."""

    class Full(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            raise OSError(28, "No space left on device")

    for file in (Full(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")):
        before = sys.stdout, sys.stderr
        console = Console(file=file, force_terminal=terminal)
        events = [Event(i, warnings=["größer"]) for i in range(1, 6)]
        assert list(progress.watch(events, console=console)) == events
        assert (sys.stdout, sys.stderr) == before


def test_warnings_are_shown_escaped() -> None:
    _, text = shown([Event(1, warnings=["\x1b]0;title\x07"])])
    assert "\x1b" not in text
    assert "warning: \\x1b]0;title\\x07" in text
