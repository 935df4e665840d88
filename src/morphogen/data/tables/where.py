"""Conditions of rows: "sex=female, age>60, site in [va, cleveland], chol is missing". All of them must hold.

A condition is the name of a column, a comparison and a value as it stands in the table; commas and brackets in a value
need quotes. A missing cell meets no condition but `is missing`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from morphogen.core.columns import Column, Table
from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.core.printable import listed, shortened
from morphogen.data.tables import dates

_COMPARISONS = (">=", "<=", "!=", "==", "=", ">", "<")
_BEFORE_QUOTES = ("=", "<", ">", "[", ",")
_LONGEST = 10_000


@dataclass(frozen=True)
class Condition:
    """What one cell must be.

    column   the place of the column
    places   of a column of values: which of them; None for numbers
    low, high    of a column of numbers: the range, and whether its ends belong to it
    outside  the cell must lie outside of the range
    missing  the cell must be missing (True) or must not be (None: it must not be, and the rest holds)
    text     as it was written
    """

    column: int
    text: str
    places: frozenset[int] | None = None
    low: float = -math.inf
    high: float = math.inf
    with_low: bool = True
    with_high: bool = True
    outside: bool = False
    missing: bool = False

    def hold(self, cells: Tensor) -> Tensor:
        """(B,) bool for cells (B, C)."""
        cell = cells[:, self.column]
        if self.missing:
            return cell.isnan()
        if self.places is not None:
            allowed = torch.tensor(sorted(self.places), dtype=cell.dtype, device=cell.device)
            return torch.isin(cell, allowed)
        above = cell >= self.low if self.with_low else cell > self.low
        below = cell <= self.high if self.with_high else cell < self.high
        inside = above & below
        return (~inside & ~cell.isnan()) if self.outside else inside


@dataclass(frozen=True)
class Where:
    """Conditions that hold together."""

    conditions: tuple[Condition, ...]

    def hold(self, cells: Tensor) -> Tensor:
        """(B,) bool for cells (B, C)."""
        found = torch.ones(len(cells), dtype=torch.bool, device=cells.device)
        for condition in self.conditions:
            found &= condition.hold(cells)
        return found

    def __str__(self) -> str:
        return ", ".join(condition.text for condition in self.conditions)

    def exact(self, table: Table) -> tuple[Tensor, Tensor]:
        """Cells (C,) that a single condition fixes, and (C,) bool which they are: equality, and `is missing`."""
        cells = torch.full((len(table.columns),), math.nan, dtype=torch.float64)
        fixed = torch.zeros(len(table.columns), dtype=torch.bool)
        for condition in self.conditions:
            one = condition.places is not None and len(condition.places) == 1
            if condition.missing or one or (condition.low == condition.high and not condition.outside):
                fixed[condition.column] = True
                if not condition.missing:
                    cells[condition.column] = next(iter(condition.places)) if condition.places else condition.low
        return cells, fixed


def parse_where(text: str, table: Table) -> Where:
    """The conditions in a text. Raises `UsageError` for unknown columns and values, and for what no row can meet."""
    if len(text) > _LONGEST:
        raise UsageError(f"--where has at most {_LONGEST:,} characters.")
    found = Where(tuple(_condition(part, table) for part in _parts(text)))
    for column in {condition.column for condition in found.conditions}:
        _check_possible([c for c in found.conditions if c.column == column], table.columns[column])
    return found


def value_in(text: str, column: Column) -> float:
    """The cell of a value as it is written. Raises `UsageError` for one that the column does not have."""
    said = f"column {shortened(column.name)!r}"
    if column.type == "datetime":
        for form in (column.format, *dates.FORMATS):
            if form:
                try:
                    return dates.parsed(text, form, said)
                except DataError:
                    continue
        raise UsageError(f"{said} holds dates as {column.format or dates.FORMATS[0]} (got {shortened(text, 40)!r}).")
    if column.is_number:
        try:
            value = float(text.replace(",", ".") if "," in column.format else text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UsageError(f"{said} holds numbers (got {shortened(text, 40)!r}).")
        return value
    if text in column.values:
        return float(column.values.index(text))
    lower = [value.strip().lower() for value in column.values]
    if lower.count(text.strip().lower()) == 1:
        return float(lower.index(text.strip().lower()))
    try:
        numbers = [float(value) for value in column.values]
        return float(numbers.index(float(text)))
    except ValueError:
        common = [value for i, value in enumerate(column.values) if i not in column.rare]
        raise UsageError(f"{said}: {unknown('value', text, common)}") from None


def _parts(text: str) -> list[str]:
    """The conditions, cut at commas outside of brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (not text[start:i].strip() or text[:i].rstrip().endswith(_BEFORE_QUOTES)):
            quote = character
        elif character == "[":
            depth += text[start:i].rstrip().endswith("in") or depth > 0
        elif character == "]" and depth:
            depth -= 1
        elif character == "," and not depth:
            parts.append(text[start:i])
            start = i + 1
    parts = [part.strip() for part in (*parts, text[start:])]
    if quote or depth or any(not part for part in parts):
        raise UsageError(
            f"--where takes conditions such as sex=female,age>60,name in [a, b] (got {shortened(text, 60)!r})."
        )
    return parts


def _condition(text: str, table: Table) -> Condition:
    name = max((n for n in table.names if text.startswith(n) and _ends(text[len(n) :])), key=len, default=None)
    if name is None:
        asked = re.split(r"[=<>!]| in | is ", text, maxsplit=1)[0].strip()
        raise UsageError(f"--where {shortened(text, 60)!r}: {unknown('column', asked, table.names)}")
    place, column, rest = table.names.index(name), table[name], text[len(name) :].strip()
    if rest in ("is missing", "is not missing"):
        everything = frozenset(range(len(column.values))) if not column.is_number else None
        if rest == "is not missing":
            return Condition(place, text, places=everything)
        if not column.has_missing:
            raise UsageError(f"--where {shortened(text, 60)!r}: column {shortened(name)!r} has no missing cells.")
        return Condition(place, text, missing=True)
    if rest.startswith("in"):
        inside = rest[2:].strip()
        if not (inside.startswith("[") and inside.endswith("]")) or column.is_number:
            raise UsageError(f"--where {shortened(text, 60)!r}: write NAME in [a, b] for a column of values.")
        values = [_unquoted(part) for part in _parts(inside[1:-1])]
        return Condition(place, text, places=frozenset(int(value_in(v, column)) for v in values))
    sign = next(c for c in _COMPARISONS if rest.startswith(c))
    return compared(place, column, sign, value_in(_unquoted(rest[len(sign) :].strip()), column), text)


def compared(place: int, column: Column, sign: str, value: float, text: str) -> Condition:
    """The condition `column sign value`. Raises `UsageError` for an order among values that have none."""
    if column.is_number:
        ends: dict[str, Any] = {
            "=": {"low": value, "high": value},
            "!=": {"low": value, "high": value, "outside": True},
            ">=": {"low": value},
            "<=": {"high": value},
            ">": {"low": value, "with_low": False},
            "<": {"high": value, "with_high": False},
        }[sign.replace("==", "=")]
        return Condition(place, text, **ends)
    if column.type == "category" and sign[0] in "<>":
        raise UsageError(
            f"{shortened(text, 60)!r}: the values of {shortened(column.name)!r} have no order; use =, != or in [a, b]."
        )
    everything = range(len(column.values))
    chosen = {
        "=": {int(value)},
        "!=": set(everything) - {int(value)},
        ">=": {i for i in everything if i >= value},
        "<=": {i for i in everything if i <= value},
        ">": {i for i in everything if i > value},
        "<": {i for i in everything if i < value},
    }[sign.replace("==", "=")]
    return Condition(place, text, places=frozenset(chosen))


def _ends(rest: str) -> bool:
    return bool(re.match(r"\s*([=<>!]|in\s*\[|is (not )?missing$)", rest))


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _check_possible(conditions: Sequence[Condition], column: Column) -> None:
    """Raise `UsageError` where no cell can meet all conditions of its column."""
    texts = listed([c.text for c in conditions], 5)
    missing = {condition.missing for condition in conditions}
    places = [c.places for c in conditions if c.places is not None]
    impossible = len(missing) > 1 or (bool(places) and not frozenset.intersection(*places))
    if column.is_number and missing == {False}:
        inside = [c for c in conditions if not c.outside]
        low = max((c.low for c in inside), default=-math.inf)
        high = min((c.high for c in inside), default=math.inf)
        open_end = any((c.low == low and not c.with_low) or (c.high == high and not c.with_high) for c in inside)
        impossible = low > high or (low == high and open_end) or low > column.high or high < column.low
        r = column.resolution
        if r and low == high and abs(low / r - round(low / r)) > 1e-6:
            impossible = True
    if impossible:
        raise UsageError(
            f"--where: no row can meet {texts}"
            + (f": {shortened(column.name)!r} goes from {_said(column)}." if column.is_number else ".")
        )


def _said(column: Column) -> str:
    low, high = column.common or (column.low, column.high)
    if column.type == "datetime":
        return f"{dates.written(low, column.format)} to {dates.written(high, column.format)}"
    return f"{low:g} to {high:g}"
