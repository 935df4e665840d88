"""Associations of all pairs of columns, and their difference between two tables.

    two of numbers     Spearman's correlation (Pearson's of the ranks), -1 to 1, or Pearson's, over the rows with both
    two of categories  Cramer's V, 0 to 1: V^2 = (sum_kl n_kl^2 / (n_k n_l) - 1) / (min(K, L) - 1)
    one of each        the correlation ratio eta, 0 to 1: eta^2 = the variance of the group means over the variance

Categories have the bins of `marginals`: their 10 most frequent values, all others, missing. A column without variance
has the association 0 with all others. The distance of two tables is the mean absolute difference over all pairs. V and
eta of independent columns are above 0 by chance, so the distance says something only beside the floor at the same n.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from morphogen.evaluation.tables.intervals import GROUPS, groups, spread
from morphogen.evaluation.tables.marginals import Bins
from morphogen.evaluation.tables.rows import Cells, Rows
from morphogen.theory.statistics.intervals import Estimate

Method = Literal["spearman", "pearson"]
Array = np.ndarray[Any, np.dtype[np.float64]]
_TINY = 1e-12


class Associations(NamedTuple):
    """made, real (C, C) with diagonal 1, and the mean absolute difference off the diagonal, 0 for one column."""

    made: Array
    real: Array
    mean: Estimate


def associations(made: Rows, real: Rows, method: Method = "spearman") -> Associations:
    """The associations of both tables, and their mean absolute difference with the interval of its variation."""
    bins = Bins(real)
    sides = [_Sums(rows, bins, method, name) for rows, name in ((made, "made"), (real, "real"))]
    whole = [side.matrix(side.total) for side in sides]
    without = [_distance(*(side.matrix(side.total - side.groups[g]) for side in sides)) for g in range(GROUPS)]
    return Associations(whole[0], whole[1], spread(_distance(*whole), without))


def _distance(a: Array, b: Array) -> float:
    c = len(a)
    return float(np.abs(a - b).sum()) / (c * (c - 1)) if c > 1 else 0.0


class _Sums:
    """Sums over rows of products of encoded columns, in total and by group of rows.

    A column of numbers z with the indicator m of known cells is encoded as (m, m z, m z^2), so the sums of products of
    two columns hold all moments over the rows in which both are known. Categories are one-hot.
    """

    def __init__(self, rows: Rows, bins: Bins, method: Method, name: str) -> None:
        self.layout, counts = rows.layout, bins.counts()
        codes = bins.codes(rows)
        numbers = [_standard(rows.cells[:, c], method) for c in self.layout.numbers]
        known = np.column_stack([~np.isnan(z) for z in numbers] or [np.zeros((len(rows), 0))]).astype(float)
        z = np.nan_to_num(np.column_stack(numbers or [np.zeros((len(rows), 0))]))
        hot = [codes[:, c][:, None] == np.arange(counts[c]) for c in self.layout.categories]
        encoded = np.concatenate((known, z, z**2, *hot), axis=1).astype(np.float64)
        self.width = len(numbers)
        self.blocks = np.repeat(np.arange(len(hot)), [h.shape[1] for h in hot]) if hot else np.zeros(0, np.int64)
        label = groups(len(rows), name)
        self.groups = np.stack([encoded[label == g].T @ encoded[label == g] for g in range(GROUPS)])
        self.total: Array = self.groups.sum(0)

    def matrix(self, sums: Array) -> Array:
        """(C, C) from the sums (E, E) of products."""
        w, c = self.width, len(self.layout.sizes)
        numbers, categories = self.layout.numbers, self.layout.categories
        found = np.eye(c)
        m, z, squares, hot = slice(0, w), slice(w, 2 * w), slice(2 * w, 3 * w), slice(3 * w, None)
        if numbers:
            n = np.maximum(sums[m, m], 1.0)
            mean = sums[z, m] / n  # [i, j]: of column i over the rows in which j is known, too
            variance = sums[squares, m] / n - mean**2
            covariance = sums[z, z] / n - mean * mean.T
            found[np.ix_(numbers, numbers)] = _ratio(covariance, np.sqrt(np.clip(variance * variance.T, 0.0, None)))
        if categories:
            inside = (self.blocks[:, None] == np.arange(len(categories))).astype(float)  # (E', categories)
            pairs, held = sums[hot, hot], np.diag(sums[hot, hot])
            share = _ratio(pairs**2, np.outer(held, held), tiny=0.0)
            squares_v = inside.T @ share @ inside - 1.0
            present = inside.T @ (held > 0)
            least = np.minimum.outer(present, present) - 1.0
            v = np.sqrt(np.clip(_ratio(squares_v, least, tiny=0.0), 0.0, 1.0))
            found[np.ix_(categories, categories)] = v
            if numbers:
                count, total = sums[hot, m], sums[hot, z]  # (E', numbers): of each value
                n, whole, square = (inside.T @ part for part in (count, total, sums[hot, squares]))
                between = inside.T @ _ratio(total**2, count, tiny=0.0) - _ratio(whole**2, n, tiny=0.0)
                eta = np.sqrt(np.clip(_ratio(between, square - _ratio(whole**2, n, tiny=0.0)), 0.0, 1.0))
                found[np.ix_(categories, numbers)] = eta
                found[np.ix_(numbers, categories)] = eta.T
        np.fill_diagonal(found, 1.0)
        return found


def _ratio(a: Array, b: Array, tiny: float = _TINY) -> Array:
    """a / b, and 0 where b is (next to) 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b > tiny)


def _standard(cells: Cells, method: Method) -> Cells:
    """The values or their mid-ranks with mean 0 and variance 1; NaN stays. A constant column becomes 0."""
    known = ~np.isnan(cells)
    values = cells[known]
    if method == "spearman" and len(values):
        order, place, count = np.unique(values, return_inverse=True, return_counts=True)
        values = (np.cumsum(count) - 0.5 * (count - 1.0))[place] if len(order) else values
    centered = values - values.mean() if len(values) else values
    scale = float(np.sqrt((centered**2).mean())) if len(values) else 0.0
    constant = scale <= _TINY * float(np.abs(values).max(initial=0.0))  # only rounding errors
    found = np.full(len(cells), np.nan)
    found[known] = 0.0 if constant else centered / scale
    return found
