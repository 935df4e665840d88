"""What a schema learns from the training rows: ranges, quantiles, missing cells, rare values."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from morphogen.core.columns import FEW, Column, Table, quantiles_of
from morphogen.core.errors import DataError
from morphogen.core.printable import listed
from morphogen.data.tables.rules import MISSING, Rules

MAX_COMBINATIONS = 4096


def fitted(table: Table, cells: Tensor) -> Table:
    """The schema with what the training cells (N, C) tell; ranges that were given by hand stay."""
    rows = cells.numpy()
    columns = tuple(_fitted(column, rows[:, j]) for j, column in enumerate(table.columns))
    return table.replace(columns=columns, combinations=_combinations(table, rows))


def _combinations(table: Table, rows: np.ndarray) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """The combinations of the fixed columns. Raises `DataError` where there are too many."""
    found = []
    for places in Rules(table).fixed:
        different = np.unique(np.where(np.isnan(rows[:, places]), MISSING, rows[:, places]), axis=0)
        if len(different) > MAX_COMBINATIONS:
            names = listed([table.names[place] for place in places], 5)
            raise DataError(f"the columns {names} have {len(different):,} combinations; at most {MAX_COMBINATIONS:,}.")
        found.append(tuple(tuple(row) for row in different.tolist()))
    return tuple(found)


def _fitted(column: Column, cells: np.ndarray) -> Column:
    present = cells[~np.isnan(cells)]
    missing = 1.0 - len(present) / len(cells)
    said: dict[str, Any] = {"missing": missing if missing else column.missing}
    if not column.is_number:
        counts = np.bincount(present.astype(np.int64), minlength=len(column.values))
        return column.replace(**said, rare=tuple(np.flatnonzero(counts < FEW).tolist()))
    if len(present) < 2 or (not column.resolution and present.min() == present.max()):
        return column.replace(**said)
    ordered = np.sort(present)
    if len(present) >= 2 * FEW:
        # Without a resolution the ends lie between two records, so that they are no record's own value.
        inner = 0 if column.resolution else 1
        low, high = (ordered[[FEW - 1, FEW - 1 + inner]].mean(), ordered[[-FEW - inner, -FEW]].mean())
        said["common"] = (float(low), float(high))
    fit = quantiles_of(present, column.resolution)
    if not column.public:
        return column.replace(**said, low=float(ordered[0]), high=float(ordered[-1]), **fit)
    knots, levels = list(fit["knots"]), list(fit["levels"])
    low, high = column.support
    spare = 0.05 / len(present)  # the probability of values beyond those that are known
    if low < knots[0]:
        knots, levels = [low, *knots], [0.0, *(spare + (1 - spare) * level for level in levels)]
    if high > knots[-1]:
        knots, levels = [*knots, high], [*((1 - spare) * level for level in levels), 1.0]
    return column.replace(**said, knots=tuple(knots), levels=tuple(levels))
