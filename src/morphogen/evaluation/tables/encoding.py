"""Tables as matrices, for classifiers and for distances.

`Encoder` gives real numbers for linear models and for distances. Its scales are those of the rows that it was made
from, which must be real rows, so that synthetic rows cannot change the scale that judges them.

    numbers     standardized, (v - mean) / deviation; a missing cell is 0, the mean, beside an indicator
    categories  one column of 0 and 1 for each of the 30 most frequent values, one for all others, one for missing

In a distance, two different categories and two cells of which one is missing count as 1, as much as numbers that are
one deviation apart: the columns of 0 and 1 are divided by the square root of 2.

`tree_matrix` is for trees, which need no scale and read missing cells as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from morphogen.evaluation.tables.rows import Cells, Rows

MOST_VALUES = 30
MOST_CODES = 250  # scikit-learn's trees split on at most 255 values of a category
Matrix = np.ndarray[Any, np.dtype[np.float64]]


class Encoder:
    """The matrix of a table, with scales of the rows `real`; the columns in `without` are left out."""

    def __init__(self, real: Rows, without: tuple[int, ...] = ()) -> None:
        self.layout = real.layout
        self.columns = [c for c in range(len(real.layout.sizes)) if c not in without]
        self._means: dict[int, tuple[float, float]] = {}
        self._kept: dict[int, Cells] = {}
        for c in self.columns:
            cells = real.cells[:, c]
            known = cells[~np.isnan(cells)]
            if self.layout.sizes[c]:
                self._kept[c] = most_frequent(cells, MOST_VALUES)
            else:
                mean, deviation = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
                # A constant column has no scale; a difference from it still counts.
                self._means[c] = (mean, deviation if deviation > 1e-12 * abs(mean) else max(abs(mean), 1.0))

    def __call__(self, rows: Rows) -> Matrix:
        """(N, E) for linear models."""
        return self._matrix(rows, 1.0)

    def positions(self, rows: Rows) -> Matrix:
        """(N, E) for Euclidean distances."""
        return self._matrix(rows, 0.5**0.5)

    def _matrix(self, rows: Rows, one: float) -> Matrix:
        parts = []
        for c in self.columns:
            cells = rows.cells[:, c]
            missing = np.isnan(cells)
            if c in self._means:
                mean, deviation = self._means[c]
                parts.append(np.where(missing, 0.0, (np.nan_to_num(cells, nan=mean) - mean) / deviation)[:, None])
                # A number that is missing differs from a known one by 1 in the squared distance, as categories do.
                parts.append(missing[:, None] * (1.0 if one < 1.0 else one))
            else:
                hot = cells[:, None] == self._kept[c]
                other = ~missing & ~hot.any(1)
                parts.append(np.column_stack((hot, other, missing)) * one)
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(rows), 0))


def most_frequent(cells: Cells, n: int) -> Cells:
    """The `n` most frequent known values of a column, ties by the smaller value."""
    values, counts = np.unique(cells[~np.isnan(cells)], return_counts=True)
    return values[np.argsort(-counts, kind="stable")][:n]


def tree_matrix(rows: Rows, real: Rows, without: tuple[int, ...] = ()) -> tuple[Matrix, list[bool]]:
    """(N, C) with NaN for missing cells, and which columns are categories, renumbered by their frequency in `real`."""
    columns = [c for c in range(len(rows.layout.sizes)) if c not in without]
    parts = []
    for c in columns:
        cells = rows.cells[:, c]
        if rows.layout.sizes[c]:
            kept = most_frequent(real.cells[:, c], MOST_CODES)
            codes = np.full(rows.layout.sizes[c] + 1, float(len(kept)))  # values that real rows lack are one
            codes[kept.astype(int)] = np.arange(len(kept))
            cells = np.where(np.isnan(cells), np.nan, codes[np.nan_to_num(cells, nan=0.0).astype(int)])
        parts.append(cells)
    matrix = np.column_stack(parts) if parts else np.zeros((len(rows), 0))
    return matrix, [bool(rows.layout.sizes[c]) for c in columns]
