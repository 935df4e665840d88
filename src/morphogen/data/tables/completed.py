"""Rows whose missing cells a model fills in: read with all their columns, and put together again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from morphogen.core.columns import Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.core.printable import one_line, shortened
from morphogen.data.load import read_source
from morphogen.data.tables.cells import cells_in
from morphogen.data.tables.options import TableOptions
from morphogen.data.tables.reading import is_frame, is_table, of_frame, polars_module, read_table
from morphogen.data.tables.writing import frame_of, texts_of

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class GivenRows:
    """Rows as given: their frame with all columns, their cells (N, C), and notes."""

    frame: polars.DataFrame
    cells: Tensor
    notes: tuple[str, ...] = ()


def given_rows(data: Any, spec: DataSpec) -> GivenRows:
    """The rows of a file, a data frame or a named table, for a model of `spec`. Raises `DataError` as loading does."""
    table = spec.table
    assert table is not None
    if is_frame(data):
        frame, name = of_frame(data, "data frame"), "data frame"
    elif isinstance(data, str | Path) and is_table(Path(data)) and Path(data).is_file():
        frame, name = read_table(Path(data), TableOptions()), Path(data).name
    else:
        raw = read_source(data, spec)[1]
        if raw.table is None:
            raise DataError(f"{data}: expected a table, such as a .csv or .parquet file or a data frame.")
        return GivenRows(frame_of(raw.stored.numpy(), table), raw.stored, tuple(raw.notes))
    strange = [c for c in frame.columns if c not in table.names and c not in table.order]
    notes = tuple(f"column {shortened(one_line(c))!r} is kept as it is: the model does not know it" for c in strange)
    return GivenRows(frame, cells_in(frame, table, name, may_miss=True), notes)


def completed(rows: GivenRows, table: Table, found: Tensor, spread: Tensor | None = None) -> polars.DataFrame:
    """The frame with the missing cells of `found` (K, N, C), and a column `draw` in front where K > 1.

    `spread` (N, C) adds a column `NAME spread` for each column that had missing cells.
    """
    pl = polars_module()
    absent = rows.cells.isnan().numpy()
    frames = []
    for draw, cells in enumerate(found.numpy()):
        frame, typed = rows.frame, frame_of(cells, table)
        for j, column in enumerate(table.columns):
            if not absent[:, j].any():
                continue
            given = rows.frame[column.name]
            made = typed[column.name]
            if given.dtype == pl.String:
                made = pl.Series(column.name, texts_of(cells[:, j], column), dtype=pl.String)
            mask = pl.Series(absent[:, j])
            kept = made.zip_with(mask, given.cast(made.dtype, strict=False))
            frame = frame.with_columns(kept.alias(column.name))
        if len(found) > 1:
            frame = frame.insert_column(0, pl.Series("draw", np.full(frame.height, draw + 1)))
        frames.append(frame)
    whole = pl.concat(frames)
    if spread is not None:
        for j, name in enumerate(table.names):
            if absent[:, j].any():
                values = np.where(absent[:, j], spread[:, j].numpy(), np.nan)
                whole = whole.with_columns(pl.Series(f"{name} spread", values).fill_nan(None))
    return whole
