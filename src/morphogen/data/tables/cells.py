"""Cells (N, C) of a frame by a schema: numbers, seconds, places among values, NaN where missing.

What a schema does not know is a `DataError` with column and row: other values, text among numbers, missing cells in a
column that has none. The value itself is never shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from morphogen.core.columns import Column, Table
from morphogen.core.errors import DataError, unknown
from morphogen.core.printable import one_line, shortened
from morphogen.data.tables import dates
from morphogen.data.tables.inference import first_other, numbers_of, texts_of
from morphogen.data.tables.numbers import MISSING_WORDS

if TYPE_CHECKING:
    import polars


def cells_in(frame: polars.DataFrame, table: Table, where: str, may_miss: bool = False) -> Tensor:
    """(N, C) float64 cells of the columns of `table`, by name. Raises `DataError` for what it does not know.

    `may_miss`: a cell may also be missing where the schema knows no missing cells.
    """
    missing = [name for name in table.names if name not in frame.columns]
    if missing:
        lacking = unknown("column", missing[0], frame.columns)
        raise DataError(f"{where}: the table lacks a column of the model: {lacking}")
    found = [_cells(frame[column.name], column, where, may_miss) for column in table.columns]
    return torch.from_numpy(np.stack(found, axis=1))


def _cells(series: polars.Series, column: Column, where: str, may_miss: bool) -> np.ndarray:
    what = f"{where}: column {shortened(one_line(column.name))!r}"
    if column.type == "datetime":
        cells = _seconds(series, column, what)
    elif column.is_number:
        cells = _numbers(series, column, what)
    else:
        cells = _places(series, column, what)
    absent = np.isnan(cells)
    if absent.any() and not (column.has_missing or may_miss):
        row = int(np.flatnonzero(absent)[0])
        raise DataError(f"{what}, row {row + 1:,}: the cell is missing, but the schema knows no missing cell there.")
    return cells


def _seconds(series: polars.Series, column: Column, what: str) -> np.ndarray:
    import polars as pl

    if series.dtype in (pl.Date, pl.Datetime):
        return dates.typed_seconds(series)
    text = series.cast(pl.String)
    seconds = dates.seconds_in(text, column.format) if column.format else _iso(text)
    bad = np.isnan(seconds) & text.is_not_null().to_numpy()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{what}, row {row + 1:,}: this is no date as {column.format}, and may be out of range.")
    return seconds


def _iso(text: polars.Series) -> np.ndarray:
    return max((dates.seconds_in(text, form) for form in dates.FORMATS[:6]), key=lambda s: int((~np.isnan(s)).sum()))


def _numbers(series: polars.Series, column: Column, what: str) -> np.ndarray:
    decimal = "comma" if "," in column.format else "point"
    found = numbers_of(series, decimal, what)
    if found is None and not len(series.drop_nulls()):
        return np.full(len(series), np.nan)
    if found is None and decimal == "comma":
        found = numbers_of(series, "point", what)
    if found is None:
        row = first_other(series, decimal == "comma")
        raise DataError(f"{what}, row {row + 1:,}: expected a number.")
    return found.values


def _places(series: polars.Series, column: Column, what: str) -> np.ndarray:
    place = {value: float(i) for i, value in enumerate(column.values)}
    by_number: dict[float, float] = {}
    for value, i in place.items():
        try:
            by_number.setdefault(float(value.replace(",", ".")), i)
        except ValueError:
            by_number = {}
            break
    lower = {value.lower(): i for value, i in place.items()} if column.type == "boolean" else {}
    found: dict[str | None, float] = {None: np.nan}
    cells = np.empty(len(series))
    for row, text in enumerate(texts_of(series)):
        if text not in found:
            found[text] = _place(text or "", place, by_number, lower)
            if np.isnan(found[text]) and not (text in MISSING_WORDS and by_number):
                raise DataError(
                    f"{what}, row {row + 1:,}: the value is none of the {len(place):,} that the schema knows."
                )
        cells[row] = found[text]
    return cells


def _place(text: str, place: dict[str, float], by_number: dict[float, float], lower: dict[str, float]) -> float:
    if text in place:
        return place[text]
    if text.lower() in lower:
        return lower[text.lower()]
    try:
        return by_number.get(float(text.replace(",", ".")), np.nan) if by_number else np.nan
    except ValueError:
        return np.nan
