"""Cells back to a frame and to files, with the columns, order and types of the original.

Columns that are not modeled are left out, but for constants. Grouping columns and splits are left out too.
"""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from morphogen.core.columns import Column, Table
from morphogen.data.tables import dates
from morphogen.data.tables.numbers import written
from morphogen.data.tables.reading import polars_module

if TYPE_CHECKING:
    import polars

FORMATS = (".csv", ".csv.gz", ".tsv", ".parquet")


def frame_of(cells: np.ndarray, table: Table) -> polars.DataFrame:
    """The rows of cells (N, C) as a typed frame."""
    pl = polars_module()
    constants = {column.name: column.value for column in table.left_out if column.value is not None}
    made = []
    for name in table.order or table.names:
        if name in table.names:
            made.append(_series(cells[:, table.names.index(name)], table[name], pl))
        elif name in constants:
            made.append(pl.Series(name, [constants[name]] * len(cells), dtype=pl.String))
    return pl.DataFrame(made)


def file_of(cells: np.ndarray, table: Table, suffix: str) -> bytes:
    """The content of a file: Parquet with types, or text in which cells look as in the original."""
    frame = frame_of(cells, table)
    if suffix == ".parquet":
        return frame_file(frame, suffix)
    pl = polars_module()
    texts = [
        pl.Series(column.name, texts_of(cells[:, j], column), dtype=pl.String) for j, column in enumerate(table.columns)
    ]
    return frame_file(frame.with_columns(texts), suffix, has_decimal_commas(table))


def has_decimal_commas(table: Table) -> bool:
    """Whether a number of the table is written with a decimal comma; its cells are then cut by semicolons."""
    return any(
        "," in column.format or (column.format == "number" and any("," in value for value in column.values))
        for column in table.columns
        if column.type != "datetime"
    )


def frame_file(frame: polars.DataFrame, suffix: str, semicolons: bool = False) -> bytes:
    """A frame as the content of a file."""
    out = io.BytesIO()
    if suffix == ".parquet":
        frame.write_parquet(out)
        return out.getvalue()
    frame.write_csv(out, separator="\t" if suffix.startswith(".tsv") else ";" if semicolons else ",")
    return gzip.compress(out.getvalue(), mtime=0) if suffix.endswith(".gz") else out.getvalue()


def texts_of(cells: np.ndarray, column: Column) -> list[str | None]:
    """The cells of a column as text; None where missing."""
    if column.type == "datetime":
        known: dict[float, str] = {}
        return [None if v != v else known.setdefault(v, dates.written(v, column.format)) for v in cells.tolist()]
    if column.is_number:
        return written(cells, column)
    return [None if v != v else column.values[int(v)] for v in cells.tolist()]


def _series(cells: np.ndarray, column: Column, pl: Any) -> Any:
    present: list[float | None] = [None if v != v else v for v in cells.tolist()]
    if column.type == "datetime":
        if not column.format or any(letter in column.format for letter in "HMSI"):
            micro = [None if v is None else round(v * 1e6) for v in present]
            return pl.Series(column.name, micro, dtype=pl.Int64).cast(pl.Datetime("us"))
        days = [None if v is None else round(v / dates.DAY) for v in present]
        return pl.Series(column.name, days, dtype=pl.Int32).cast(pl.Date)
    if column.is_number:
        if column.type == "integer" and not column.format and max(abs(column.low), abs(column.high)) < 2.0**63:
            return pl.Series(column.name, [None if v is None else round(v) for v in present], dtype=pl.Int64)
        texts = [None if t is None else float(t.replace(",", ".")) for t in written(cells, column)]
        return pl.Series(column.name, texts, dtype=pl.Float64)
    if column.format == "bool":
        return pl.Series(column.name, [None if v is None else bool(v) for v in present], dtype=pl.Boolean)
    if column.format == "number":
        numbers = [float(value.replace(",", ".")) for value in column.values]
        whole = all(value.lstrip("+-").isdigit() for value in column.values) and max(map(abs, numbers)) < 2.0**63
        found: list[Any] = [None if v is None else numbers[int(v)] for v in present]
        found = [None if v is None else int(v) for v in found] if whole else found
        return pl.Series(column.name, found, dtype=pl.Int64 if whole else pl.Float64)
    return pl.Series(column.name, texts_of(cells, column), dtype=pl.String)
