"""From a frame to a schema: the type of each column, and which columns cannot be modeled.

What is inferred, in this order:

- no cell, or the same value in every row: left out (a constant is written back);
- other dates or times in one format: date-time;
- all cells numbers: 0 and 1 is a boolean; at most ten different values, each of ten rows or more on average, an
  ordinal; else an integer or a number with its resolution. Whole numbers that all differ, and that count on or have
  the name of an identifier, are one: left out;
- text: true and false, yes and no a boolean; intervals such as [50-60) an ordinal; else a category. Texts that (nearly)
  all differ are identifiers or free text: left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from morphogen.core.columns import MAX_VALUES, Column, ColumnType, LeftOut
from morphogen.core.errors import DataError
from morphogen.core.printable import one_line, shortened
from morphogen.data.tables import dates
from morphogen.data.tables.choices import ColumnChoice
from morphogen.data.tables.numbers import MISSING_WORDS, Numbers, decimals_of, has_decimal_comma, numbers_in

if TYPE_CHECKING:
    import polars

MOST_ORDINAL = 10  # different numbers that are modeled one by one
FEWEST = 20  # rows from which on different values say that a column is an identifier
_IDENTIFIER = re.compile(r"(^|[_ .-])(id|ids|uuid|guid|key|index|idx|rownames?|row|no|nr)$|^(unnamed.*)?$|[a-z]I[dD]$")
_INTERVAL = re.compile(r"^\s*([\[(<>]=?\s*[-$]?\d|-?\$?\d+(\.\d+)?k?\s*(-|to|\.\.)\s*\$?\d|\d+\s*\+$)")
_BOOLEANS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Found:
    """What a column is, and what is to be said about it."""

    column: Column | LeftOut
    notes: tuple[str, ...] = ()


def describe(series: polars.Series, choice: ColumnChoice, options_dates: str | None, decimal: str, keep: bool) -> Found:
    """The schema of one column, whose missing cells are null. Raises `DataError` for cells that it cannot have."""
    import polars as pl

    name, what = series.name, f"column {shortened(one_line(series.name))!r}"
    if choice.type == "left_out":
        return Found(LeftOut(name=name, reason=choice.reason or "as asked"))
    present = series.drop_nulls()
    if not len(present):
        return Found(LeftOut(name=name, reason="all cells are missing"))
    if present.n_unique() == 1 and len(present) == len(series) and not choice.values and choice.low is None:
        value = texts_of(present.head(1))[0] or ""
        return Found(LeftOut(name=name, reason="the same value in every row", value=value))
    share = 1.0 - len(present) / len(series)
    kind = series.dtype
    if kind in (pl.Date, pl.Datetime) or choice.type == "datetime":
        return Found(_date(series, choice, options_dates, share, what))
    if choice.type is None and kind == pl.String and (form := options_dates or dates.format_of(series, what)):
        seconds = dates.seconds_in(series, form)
        if not np.isnan(seconds[series.is_not_null().to_numpy()]).any():
            return Found(_date(series, choice, form, share, what))
    if kind == pl.Boolean:
        values = choice.values or ("False", "True")
        return Found(Column(name=name, type=choice.type or "boolean", values=values, missing=share, format="bool"))
    return _number_or_text(series, choice, decimal, keep, share, what)


def _number_or_text(
    series: polars.Series, choice: ColumnChoice, decimal: str, keep: bool, share: float, what: str
) -> Found:
    notes: list[str] = []
    numbers = None if choice.type in ("category", "ordinal", "boolean") else numbers_of(series, decimal, what)
    if numbers is None and choice.type in ("number", "integer"):
        row = first_other(series, decimal == "comma")
        raise DataError(f"{what}, row {row + 1:,}: expected a number; mend it, or give missing= or category=.")
    if numbers is not None:
        absent = int(np.isnan(numbers.values).sum()) - series.null_count()
        if absent:
            notes.append(f"{what}: {absent:,} cells such as NA among numbers are taken as missing")
        return Found(_numeric(series, numbers, choice, keep, what), tuple(notes))
    return _textual(series, choice, keep, share, what)


def numbers_of(series: polars.Series, decimal: str, what: str) -> Numbers | None:
    """The numbers of a column, or None if it has other cells. Raises `DataError` for an infinite one."""
    import polars as pl

    if series.dtype.is_numeric():
        values = series.cast(pl.Float64).to_numpy().astype(np.float64)
        finite = values[np.isfinite(values)]
        whole = series.dtype.is_integer()
        found: Numbers | None = Numbers(values, 0 if whole else 1, 0 if whole else decimals_of(finite), False)
    elif series.dtype != pl.String:
        return None
    else:
        plain = series.set(series.str.strip_chars().is_in(list(MISSING_WORDS)), None)
        if not len(plain.drop_nulls()) or plain.str.contains(r"^[+-]?0\d").any():
            return None  # 0123 is a code
        comma = {"comma": True, "point": False}.get(decimal)
        if comma is None:
            comma = has_decimal_comma(plain)
        if comma is None:
            raise DataError(f"{what}: commas may mark decimals or thousands: give decimal=comma or decimal=point.")
        found = numbers_in(plain, comma)
    if found is not None and np.isinf(found.values).any():
        row = int(np.flatnonzero(np.isinf(found.values))[0])
        raise DataError(f"{what}, row {row + 1:,}: the number is infinite; mend it, or give missing= for its text.")
    return found


def first_other(series: polars.Series, comma: bool) -> int:
    """The first row whose cell is no number."""
    for row, text in enumerate(series.to_list()):
        if text is not None and text.strip() not in MISSING_WORDS and numbers_in(series[row : row + 1], comma) is None:
            return row
    return 0


def _numeric(series: polars.Series, numbers: Numbers, choice: ColumnChoice, keep: bool, what: str) -> Column | LeftOut:
    present, share = numbers.present, float(np.isnan(numbers.values).mean())
    different = np.unique(present)
    kind: ColumnType
    whole = not numbers.most
    if choice.type is None and not keep and whole and not share and len(present) >= FEWEST:
        all_differ = len(different) == len(present)
        counts_on = float(different[-1] - different[0]) == len(different) - 1
        if all_differ and (counts_on or _IDENTIFIER.search(series.name)):
            return LeftOut(name=series.name, reason="an identifier: whole numbers that all differ")
    few = len(different) <= MOST_ORDINAL and len(present) >= 10 * len(different)
    if choice.type is None and (few or len(different) == 1):
        kind = "boolean" if different.tolist() == [0.0, 1.0] else "ordinal"
        return _of_values(series, kind, choice, share, numeric=True)
    kind = "integer" if choice.type == "integer" or (choice.type is None and whole) else "number"
    if choice.type == "integer" and not whole:
        row = int(np.flatnonzero(numbers.values != np.round(numbers.values))[0])
        raise DataError(f"{what}, row {row + 1:,}: expected a whole number; give number={shortened(series.name)}.")
    resolution = numbers.resolution if choice.resolution is None else choice.resolution
    low, high = (float(different[i]) if end is None else float(end) for i, end in ((0, choice.low), (-1, choice.high)))
    _within(numbers.values, low, high, what)
    return Column(
        name=series.name,
        type=kind,
        low=low,
        high=high,
        resolution=resolution,
        missing=share,
        format=numbers.pattern if choice.format is None else choice.format,
        public=choice.known_elsewhere,
    )


def _within(values: np.ndarray, low: float, high: float, what: str) -> None:
    beyond = (values < low) | (values > high)
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        raise DataError(f"{what}, row {row + 1:,}: the value lies outside its range, {low:g} to {high:g}.")


def _textual(series: polars.Series, choice: ColumnChoice, keep: bool, share: float, what: str) -> Found:
    texts = texts_of(series)
    present = [text for text in texts if text is not None]
    different = sorted(set(present))
    notes = []
    if choice.type is None and not keep and len(present) >= FEWEST and len(different) > len(present) / 2:
        words = sum(len(text.split()) for text in different) / len(different)
        if words >= 3.0 and len(different) > 2 * MOST_ORDINAL:
            return Found(LeftOut(name=series.name, reason="free text: most cells differ"))
        if len(different) > 0.95 * len(present):
            return Found(LeftOut(name=series.name, reason="an identifier: texts that nearly all differ"))
    if len(different) > MAX_VALUES:
        some = _odd_row(texts)
        raise DataError(
            f"{what} has {len(different):,} different values, and at most {MAX_VALUES:,} are modeled{some}; leave it"
            f" out with drop={shortened(series.name)}, or group its values."
        )
    kind: ColumnType = "category" if choice.type is None or choice.type == "left_out" else choice.type
    if choice.type is None:
        lower = sorted({text.strip().lower() for text in different})
        if len(different) == 2 and tuple(lower) in _BOOLEANS:
            kind = "boolean"
        elif len(different) > 2 and all(_INTERVAL.match(text) for text in different):
            kind = "ordinal"
        elif len(different) > MOST_ORDINAL:
            odd = [text for text in different if not _NUMBERS.fullmatch(text.strip())]
            if len(odd) < 0.1 * len(different):
                row = next(i for i, text in enumerate(texts) if text in odd)
                notes.append(
                    f"{what} holds numbers and {len(odd):,} other values, the first in row {row + 1:,}: it is taken as"
                    " a category; if these stand for missing cells, give missing="
                )
    return Found(_of_values(series, kind, choice, share), tuple(notes))


def _odd_row(texts: Sequence[str | None]) -> str:
    """Where numbers are interrupted by a text, which may be why a column is no column of numbers."""
    is_number = [text is None or _NUMBERS.fullmatch(text.strip()) is not None for text in texts]
    if sum(is_number) < 0.5 * len(texts) or all(is_number):
        return ""
    return f" (most are numbers; the first other one is in row {is_number.index(False) + 1:,})"


def _of_values(
    series: polars.Series, kind: ColumnType, choice: ColumnChoice, share: float, numeric: bool = False
) -> Column:
    """A column of values: those of the choice, or those that there are, in their order."""
    texts = texts_of(series)
    there = {text for text in texts if text is not None}
    plain = {text for text in there if text not in MISSING_WORDS}
    if numeric or (kind != "category" and plain and all(_NUMBERS.fullmatch(text.strip()) for text in plain)):
        there = plain  # elsewhere NA is a word as others
    values = choice.values or ordered(there)
    if kind == "boolean":
        lower = [value.strip().lower() for value in values]
        values = values if lower == sorted(lower) else tuple(v for _, v in sorted(zip(lower, values, strict=True)))
    form = "number" if numeric or series.dtype.is_numeric() else ""
    return Column(name=series.name, type=kind, values=values, missing=share, format=form, public=choice.known_elsewhere)


def ordered(values: set[str]) -> tuple[str, ...]:
    """Values by the numbers in them, if each has one; else by their text."""
    found = {value: [float(n) for n in _NUMBERS.findall(value.replace(",", "."))] for value in values}
    plain = [value.strip().replace(",", ".") for value in values]
    if all(found.values()) and all(_INTERVAL.match(value) or _NUMBERS.fullmatch(value) for value in plain):
        below = {value: -1 if value.strip()[0] == "<" else 1 if value.strip()[0] == ">" else 0 for value in values}
        return tuple(sorted(values, key=lambda value: (found[value][0], below[value], value)))
    return tuple(sorted(values))


def texts_of(series: polars.Series) -> list[str | None]:
    """The cells as text; numbers as Python writes them."""
    import polars as pl

    if series.dtype == pl.String:
        return series.to_list()
    return [None if v is None or v != v else str(v) for v in series.to_list()]


def _date(series: polars.Series, choice: ColumnChoice, form: str | None, share: float, what: str) -> Column:
    import polars as pl

    if series.dtype in (pl.Date, pl.Datetime):
        form = "%Y-%m-%d" if series.dtype == pl.Date else ""
        seconds = dates.typed_seconds(series)
    else:
        form = choice.format or form or dates.format_of(series, what)
        if form is None:
            raise DataError(f"{what}: no format of dates fits its cells: give dates=, such as dates=%d.%m.%Y.")
        seconds = dates.seconds_in(series, form)
        bad = np.isnan(seconds) & series.is_not_null().to_numpy()
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(f"{what}, row {row + 1:,}: this is no date as {form}, and may be out of range.")
    step = dates.step_of(seconds) if choice.resolution is None else choice.resolution
    ends = (float(np.nanmin(seconds)), float(np.nanmax(seconds)))
    low, high = (
        end if said is None else dates.parsed(said, form, what)
        for end, said in zip(ends, (choice.low, choice.high), strict=True)
    )
    _within(seconds, low, high, what)
    return Column(
        name=series.name,
        type="datetime",
        low=low,
        high=high,
        resolution=step,
        missing=share,
        format=form,
        public=choice.known_elsewhere,
    )
