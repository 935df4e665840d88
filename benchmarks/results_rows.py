"""The figures that were asked for, each with what the results say of it.

A `Row` reads the results that it needs and gives a `Seen`; where one of them is missing, it was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Result = Mapping[str, Any]
Results = Mapping[str, Result]  # name of a file without .json -> what it holds


class LeftOut(KeyError):
    """A record is as it should be, and the run that wrote it had no such contestant, or none that can be compared."""


@dataclass(frozen=True)
class Seen:
    """What was found: a value, the ends of its interval or range, and the bound that it was to reach, if any.

    `text` says it in other words where the value is only what is judged.
    """

    value: float
    ends: tuple[float, float] | None = None
    bound: float | None = None
    beside: str = ""
    form: str = ".4g"
    text: str = ""

    def __str__(self) -> str:
        value, *ends = (format(v, self.form).replace("%", " %") for v in (self.value, *(self.ends or ())))
        if self.text or not ends:
            return self.text or value
        return f"{value} ({ends[0]} to {ends[1]})" if self.ends[0] < self.ends[1] else f"{value} (one round)"


@dataclass(frozen=True)
class Row:
    """One figure: what it is, the command that measures it, what was asked, and how to read it from the results."""

    what: str
    command: str
    asked: str
    better: Literal["higher", "lower"]
    files: tuple[str, ...]
    read: Callable[..., Seen]
    stretch: float | None = None

    def seen(self, results: Results) -> Seen | None:
        """None where it was not measured, or only in part."""
        if any(name not in results for name in self.files):
            return None
        try:
            return self.read(*(results[name] for name in self.files))
        except KeyError:
            return None

    def verdict(self, seen: Seen | None) -> str:
        """Met or missed, and whether its interval or range bears that out."""
        if seen is None or seen.bound is None:
            return "-"
        said = _judged(seen, seen.bound, self.better)
        if self.stretch is not None:
            said += f"; stretch {_judged(seen, self.stretch, self.better)}"
        return said


def _judged(seen: Seen, bound: float, better: str) -> str:
    sign = 1.0 if better == "higher" else -1.0
    margins = [sign * (value - bound) for value in (seen.value, *(seen.ends or ()))]
    if margins[0] >= 0:
        return "met" if min(margins) >= 0 else "met, but its bracket reaches past"
    return "**missed**" if max(margins) < 0 else "**missed**, but its bracket reaches it"


def table(rows: Iterable[Row], results: Results) -> str:
    """The rows as Markdown."""
    lines = ["| what | seen | asked | verdict | beside | command |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        seen = row.seen(results)
        told = "not measured" if seen is None else str(seen)
        command = f"`{row.command}`" if row.command else "no command measures it yet"
        beside = seen.beside if seen else ""
        lines.append(f"| {row.what} | {told} | {row.asked} | {row.verdict(seen)} | {beside} | {command} |")
    return "\n".join(lines)


# ------------------------------------------------------------------------------- reading


def named(record: Result, name: str) -> Result:
    """The result of that name. Raises KeyError."""
    for result in record["results"]:
        if result["name"] == name:
            found: Result = result
            return found
    raise KeyError(name)


def seen_of(found: Result, bound: float | None, record: Result | None = None, *more: str, form: str = ".4g") -> Seen:
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
        beside.append(f"trained {training['duration_s'] / 60:.0f} min, {threads} thread{'s' if threads > 1 else ''}")
    if training.get("peak_memory_mb"):
        beside.append(f"peak {training['peak_memory_mb']:,.0f} MB")
    low, high = found["interval"]
    return Seen(found["value"], (low, high), bound, "; ".join(beside), form)


def rung(judged: Result, track: str, name: str) -> float:
    """The distance of real pictures degraded so, from the ladder beside a Frechet distance. Raises KeyError."""
    (ladder,) = judged["ladders"].values()
    return float(dict(ladder["tracks"][track])[name])


def ratio(ours: Result, theirs: Result, bound: float, *more: str) -> Seen:
    """One distance over another. The ends are what the ends of both intervals allow."""
    (a, b), (c, d) = ours["interval"], theirs["interval"]
    beside = "; ".join([f"{short(ours)} over {short(theirs)}", *more])
    return Seen(ours["value"] / theirs["value"], (a / d, b / c), bound, beside, ".3f")


def short(found: Result) -> str:
    """A value with its interval, for the column beside."""
    low, high = found["interval"]
    return f"{found['value']:.4g} ({low:.4g} to {high:.4g})"
