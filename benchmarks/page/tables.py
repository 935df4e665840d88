"""The figures that were asked for, each with how it is read from the results; topics list theirs beside their rows.

A `Figure` reads the results that it needs and gives a `Seen`; where one of them is missing, it was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Result = Mapping[str, Any]
Results = Mapping[str, Result]  # name of a file without .json -> what it holds


class LeftOut(KeyError):
    """A record is as it should be, and the run that wrote it had no such contestant, or none that can be compared."""


@dataclass(frozen=True)
class Target:
    """What is asked of a figure, in words and as a bound; the bound may also come from the results."""

    better: Literal["higher", "lower"]
    asked: str
    bound: float | None = None
    stretch: float | None = None


def at_least(bound: float | None, asked: str = "") -> Target:
    """At least the bound; `asked` says it in other words."""
    return Target("higher", asked or f"at least {bound:g}", bound)


def at_most(bound: float | None, asked: str = "", stretch: float | None = None) -> Target:
    """At most the bound, and better still at most `stretch`."""
    more = f" (stretch {stretch:g})" if stretch else ""
    return Target("lower", asked or f"at most {bound:g}{more}", bound, stretch)


@dataclass(frozen=True)
class Seen:
    """What was found: a value, and the ends of its interval or range.

    `text` says it in other words where the value is only what is judged; `bound` is one that the results give; `void`
    are the rules of `benchmarks.fair` that the comparison breaks, where it does.
    """

    value: float
    ends: tuple[float, float] | None = None
    beside: str = ""
    form: str = ".4g"
    text: str = ""
    bound: float | None = None
    void: str = ""

    def __str__(self) -> str:
        value, *ends = (format(v, self.form).replace("%", " %") for v in (self.value, *(self.ends or ())))
        if self.text or self.ends is None:
            return self.text or value
        return f"{value} ({ends[0]} to {ends[1]})" if self.ends[0] < self.ends[1] else f"{value} (one round)"


@dataclass(frozen=True)
class Figure:
    """One figure: what it is, the command that measures it, what is asked, and how to read it from the results."""

    what: str
    command: str  # what follows `python -m benchmarks.`
    target: Target
    files: tuple[str, ...]
    read: Callable[..., Seen]

    def seen(self, results: Results) -> Seen | None:
        """None where it was not measured, or only in part."""
        if any(name not in results for name in self.files):
            return None
        try:
            return self.read(*(results[name] for name in self.files))
        except KeyError:
            return None

    def verdict(self, seen: Seen | None) -> str:
        """Met or missed, and whether its interval or range bears that out; or why the comparison is void."""
        if seen is None:
            return "-"
        if seen.void:
            return f"**void**: {seen.void}"
        bound = self.target.bound if seen.bound is None else seen.bound
        assert bound is not None, f"{self.what}: neither the target nor the results give a bound"
        said = _verdict(seen, bound, self.target.better)
        if self.target.stretch is not None:
            said += f"; stretch {_verdict(seen, self.target.stretch, self.target.better)}"
        return said


def of(command: str, *files: str) -> Callable[[str, Target, Callable[..., Seen]], Figure]:
    """What makes the figures of one command, which are read from these files."""

    def figure(what: str, target: Target, read: Callable[..., Seen]) -> Figure:
        return Figure(what, command, target, files, read)

    return figure


def _verdict(seen: Seen, bound: float, better: str) -> str:
    sign = 1.0 if better == "higher" else -1.0
    margins = [sign * (value - bound) for value in (seen.value, *(seen.ends or ()))]
    if margins[0] >= 0:
        return "met" if min(margins) >= 0 else "met, but its bracket reaches past"
    return "**missed**" if max(margins) < 0 else "**missed**, but its bracket reaches it"


def table(figures: Iterable[Figure], results: Results) -> str:
    """The figures as Markdown."""
    lines = ["| what | seen | asked | verdict | beside | command |", "| --- | --- | --- | --- | --- | --- |"]
    for one in figures:
        seen = one.seen(results)
        cells = "not measured" if seen is None else str(seen), one.target.asked, one.verdict(seen)
        beside = seen.beside if seen else ""
        lines.append(f"| {one.what} | {' | '.join(cells)} | {beside} | `python -m benchmarks.{one.command}` |")
    return "\n".join(lines)


# ------------------------------------------------------------------------------- speeds


@dataclass(frozen=True)
class Speed:
    """Pictures a second of one contestant, their range over rounds, and what share of a ceiling that is."""

    what: str
    images_per_s: float
    range: Sequence[float]
    gflop: float | None = None  # of one picture
    share: str = ""

    def cells(self) -> str:
        """The speed and its range."""
        low, high = map(_rate, self.range)
        return f"{_rate(self.images_per_s)} | {f'{low} to {high}' if self.range[0] < self.range[1] else 'one round'}"


@dataclass(frozen=True)
class Contest:
    """One benchmark of speed: its file among the results, its title and command, and how to read its rows."""

    file: str
    title: str
    command: str
    speeds: Callable[[Result], Iterator[Speed]]
    about: Callable[[Result], str]
    more: Callable[[Result], str] | None = None  # what stands below the last table


def speed_table(contest: Contest, results: Results) -> str:
    """A contest's speeds as Markdown."""
    command = f"`python -m benchmarks.{contest.command}`"
    if contest.file not in results:
        return f"### {contest.title}\n\nNot measured: {command}."
    record = results[contest.file]
    lines = [
        f"### {contest.title}\n\n{command}. {contest.about(record)}\n",
        "| what | images/s | range | GFLOP a picture | share of the ceiling |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for one in contest.speeds(record):
        gflop = "-" if one.gflop is None else f"{one.gflop:.3g}"
        lines.append(f"| {one.what} | {one.cells()} | {gflop} | {one.share or '-'} |")
    return "\n".join(lines) + (f"\n\n{contest.more(record)}" if contest.more else "")


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# ------------------------------------------------------------------------------- reading


def named(record: Result, name: str) -> Result:
    """The result of that name. Raises KeyError."""
    for result in record["results"]:
        if result["name"] == name:
            found: Result = result
            return found
    raise KeyError(name)


def seen_of(
    found: Result, record: Result | None = None, *more: str, form: str = ".4g", bound: float | None = None
) -> Seen:
    """A value with its interval; beside it n, baselines and floor, and what the training took."""
    beside = [f"n = {found['n']:,}"] if "n" in found else []
    beside += [f"{name} {value:.4g}" for name, value in (found.get("baselines") or {}).items()]
    if found.get("floor") is not None:
        beside.append(f"floor {found['floor']:.4g}")
    if found.get("place"):
        beside.append(found["place"])
    beside += more
    training = (record or {}).get("training", {})
    if "duration_s" in training:
        threads = training["hardware"]["threads"]
        asked = f" ({record['budget']} asked)" if record and "budget" in record else ""
        beside.append(f"trained {training['duration_s'] / 60:.0f} min{asked}, {count(threads, 'thread')}")
    if training.get("peak_memory_mb"):
        beside.append(f"peak {training['peak_memory_mb']:,.0f} MB")
    low, high = found["interval"]
    return Seen(found["value"], (low, high), "; ".join(beside), form, bound=bound)


def rung(found: Result, track: str, name: str) -> float:
    """The distance of real pictures degraded so, from the ladder beside a Frechet distance. Raises KeyError."""
    (ladder,) = found["ladders"].values()
    return float(dict(ladder["tracks"][track])[name])


def ratio(ours: Result, theirs: Result, *more: str, void: str = "") -> Seen:
    """One distance over another. The ends are what the ends of both intervals allow."""
    (a, b), (c, d) = ours["interval"], theirs["interval"]
    beside = "; ".join([f"{short(ours)} over {short(theirs)}", *more])
    return Seen(ours["value"] / theirs["value"], (a / d, b / c), beside, ".3f", void=void)


def short(found: Result) -> str:
    """A value with its interval, for the column beside."""
    low, high = found["interval"]
    return f"{found['value']:.4g} ({low:.4g} to {high:.4g})"


def count(n: int, noun: str) -> str:
    """A number with its noun."""
    return f"{n} {noun}{'s' if n != 1 else ''}"
