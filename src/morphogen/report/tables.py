"""Numbers in words: a value with its interval, a duration, a table of results.

A result is a mapping with `name`, `value`, `interval` (low, high), `n`, `unit`, `better` (lower
or higher), `baselines` (name -> value), `floor` and `place` (on a ladder of degradations); all but the first two may
be missing, and are then shown as missing rather than made up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MISSING = "–"
_BETTER = {"lower": "↓", "higher": "↑"}
RESULT_HEADERS = ("measure", "value", "95% interval", "unit", "n", "baselines", "floor", "place")
AUDIT_HEADERS = ("measure", "value", "95% interval", "unit", "n", "found at 1%", "at 0.1%", "controls")
DIFFERENCE_HEADERS = ("measure", "a", "b", "a - b", "95% interval", "paired", "verdict")


def number(value: Any, interval: Sequence[float] | None = None) -> str:
    """A number as it should be read.

    With an interval, digits stop where the interval's half-width has two significant ones; without, up to four
    significant digits. Zero has no sign. Whole numbers are written in full, with thousands set apart.
    """
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    half = 0.5 * abs(interval[1] - interval[0]) if interval is not None else 0.0
    if half > 0.0 and math.isfinite(half):
        text = f"{value:,.{_decimals(half, 2)}f}"
        return text.lstrip("-") if float(text.replace(",", "")) == 0.0 else text
    if value != 0.0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3e}"
    text = f"{value:,.{_decimals(value, 4)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def span(interval: Sequence[float] | None) -> str:
    """An interval (low, high) as "low to high", both with the digits that its width supports."""
    if interval is None:
        return MISSING
    low, high = interval
    return f"{number(float(low), interval)} to {number(float(high), interval)}"


def duration(seconds: float | None) -> str:
    """ "12 s", "3 min 05 s" or "2 h 07 min"."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def results_rows(results: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """One row a result, under `RESULT_HEADERS`."""
    rows = []
    for result in results:
        interval = result.get("interval")
        baselines = result.get("baselines") or {}
        rows.append(
            [
                f"{result.get('name') or MISSING} {_BETTER.get(result.get('better', ''), '')}".rstrip(),
                number(result.get("value"), interval),
                span(interval),
                str(result.get("unit") or ""),
                number(result.get("n")),
                ", ".join(f"{name} {number(value)}" for name, value in baselines.items()) or MISSING,
                number(result.get("floor"), result.get("floor_interval")),
                str(result.get("place") or MISSING),
            ]
        )
    return rows


def audit_rows(results: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """One row a result of an audit, under `AUDIT_HEADERS`."""
    rows = []
    for result in results:
        rates = (result.get("details") or {}).get("true_positives") or {}
        rows.append(
            [
                str(result.get("name") or MISSING),
                number(result.get("value"), result.get("interval")),
                span(result.get("interval")),
                str(result.get("unit") or ""),
                number(result.get("n")),
                *(_percent(rates.get(rate)) for rate in ("0.01", "0.001")),
                ", ".join(f"{name} {number(v)}" for name, v in (result.get("baselines") or {}).items()) or MISSING,
            ]
        )
    return rows


def _percent(found: Mapping[str, Any] | None) -> str:
    """A share with its interval, in percent."""
    if found is None:
        return MISSING
    low, high = found["interval"]
    return f"{found['value']:.1%} ({low:.1%} to {high:.1%})"


def difference_rows(differences: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """One row a difference of two models, under `DIFFERENCE_HEADERS`."""
    return [
        [
            d["metric"],
            d["a"],
            d["b"],
            number(d["value"], d["interval"]),
            span(d["interval"]),
            "yes" if d["paired"] else "no",
            d["verdict"],
        ]
        for d in differences
    ]


def _decimals(value: float, significant: int) -> int:
    return max(0, significant - 1 - math.floor(math.log10(abs(value)))) if value else 1
