"""Rows that lie between two training rows: the mark of SMOTE and of what works like it.

SMOTE makes a row a + u (b - a) of a training row a, one b of its nearest neighbors and u in (0, 1) (Chawla et al.,
2002). For each made row s, a and b are the pair among its 10 nearest training rows whose line segment comes closest to
s. The residual is the distance of s to that segment, over its distance to the nearer end. New rows of a continuous
distribution in several dimensions have residuals near 1, rows on a segment 0. A row counts as interpolated if its
residual is below 0.1.

Only columns of numbers are read, standardized; at least three of them must vary. A row with a missing number is left
out, and so is a row that equals a training row, which is a copy. Held-out rows are measured in the same way. The test
is one-sided, with the pooled variance of two shares.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np

from morphogen.core.errors import DataError
from morphogen.evaluation.tables.distances import MIN_ROWS, Halves
from morphogen.evaluation.tables.encoding import Matrix
from morphogen.evaluation.tables.rows import Rows
from morphogen.theory.statistics.intervals import Estimate, binomial_interval

NEIGHBORS = 10
RESIDUAL = 0.1
MIN_NUMBERS = 3
MOST_ROWS = 2000
_COPY = 1e-9


class Interpolation(NamedTuple):
    """The share of made rows between two training rows, that of held-out rows, and the p-value of the difference."""

    share: Estimate
    held_out: float
    p_value: float


def interpolation(made: Rows, of: Halves, train: Rows) -> Interpolation:
    """Compare up to 2,000 made rows with held-out rows, both by the training rows.

    Raises `DataError` for fewer than three columns of numbers that vary, or fewer than 20 rows without missing numbers.
    """
    numbers = [c for c in made.layout.numbers if _varies(train, c)]
    if len(numbers) < MIN_NUMBERS:
        raise DataError(
            f"rows between training rows are found by at least {MIN_NUMBERS} columns of numbers that vary; the table"
            f" has {len(numbers)}."
        )
    ends, ours, theirs = (_complete(rows.cells[:, numbers]) for rows in (train, made, of.held_out))
    if min(len(ends), len(ours), len(theirs)) < MIN_ROWS:
        raise DataError(
            f"rows between training rows are found by at least {MIN_ROWS} rows without missing numbers; there are"
            f" {len(ours)} made, {len(ends)} training and {len(theirs)} held-out ones."
        )
    mean, deviation = ends.mean(0), ends.std(0)
    deviation = np.where(deviation > 0.0, deviation, 1.0)
    ends, ours, theirs = ((x - mean) / deviation for x in (ends, ours[:MOST_ROWS], theirs[:MOST_ROWS]))
    hits, others = _between(ours, ends), _between(theirs, ends)
    k, n, j, m = int(hits.sum()), len(hits), int(others.sum()), len(others)
    pooled = (k + j) / (n + m)
    spread = math.sqrt(max(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m), 1e-300))
    p_value = 0.5 * math.erfc((k / n - j / m) / spread / math.sqrt(2.0)) if 0.0 < pooled < 1.0 else 1.0
    return Interpolation(Estimate(k / n, binomial_interval(k, n)), j / m, p_value)


def _varies(rows: Rows, column: int) -> bool:
    known = rows.cells[:, column][~np.isnan(rows.cells[:, column])]
    return len(known) > 1 and bool(known.max() > known.min())


def _complete(x: Matrix) -> Matrix:
    return x[~np.isnan(x).any(1)]


def _between(rows: Matrix, ends: Matrix) -> np.ndarray:
    """(N,) whether each row lies between two of its nearest ends, and is none of them."""
    k = min(NEIGHBORS, len(ends))
    found = np.zeros(len(rows), dtype=bool)
    lengths = (ends**2).sum(1)
    for start in range(0, len(rows), 256):
        part = rows[start : start + 256]
        near = np.argpartition(lengths - 2.0 * part @ ends.T, k - 1, axis=1)[:, :k]
        points = ends[near]  # (B, k, D)
        to_ends = np.sqrt(((part[:, None] - points) ** 2).sum(2))
        residual = np.full(len(part), np.inf)
        for i, j in combinations(range(k), 2):
            along = points[:, j] - points[:, i]
            length = np.maximum((along**2).sum(1), 1e-300)
            u = np.clip(((part - points[:, i]) * along).sum(1) / length, 0.0, 1.0)
            away = np.sqrt(((part - points[:, i] - u[:, None] * along) ** 2).sum(1))
            nearer = np.maximum(np.minimum(to_ends[:, i], to_ends[:, j]), 1e-300)
            residual = np.minimum(residual, away / nearer)
        found[start : start + 256] = (residual < RESIDUAL) & (to_ends.min(1) > _COPY)
    return found
