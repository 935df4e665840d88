"""Patterns of missing cells.

The pattern of a row says which of its cells are missing. The value is the total variation distance of the patterns,
1/2 sum |p - q| over the 50 most frequent patterns of the real rows, and all others as one. Beside it stands the largest
difference of a column's share of missing cells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from morphogen.evaluation.tables.intervals import GROUPS, groups, spread
from morphogen.evaluation.tables.rows import Rows
from morphogen.theory.statistics.intervals import Estimate

MOST_PATTERNS = 50


class Missingness(NamedTuple):
    """The distance of the patterns; by column (C,) the shares of missing cells made and real; the worst column."""

    distance: Estimate
    made: tuple[float, ...]
    real: tuple[float, ...]
    worst: int


def missingness(made: Rows, real: Rows) -> Missingness:
    """Compare the patterns of missing cells of made rows (N) with those of real rows (M)."""
    ours, theirs = (np.isnan(rows.cells) for rows in (made, real))
    patterns, count = np.unique(theirs, axis=0, return_counts=True)
    common = patterns[np.argsort(-count, kind="stable")[:MOST_PATTERNS]]
    number = {row.tobytes(): i for i, row in enumerate(common)}
    shares = []
    for side, name in ((ours, "made"), (theirs, "real")):
        code = np.array([number.get(row.tobytes(), len(common)) for row in side], dtype=np.int64)
        held = np.stack(
            [np.bincount(code[groups(len(side), name) == g], minlength=len(common) + 1) for g in range(GROUPS)]
        ).astype(float)
        kept = np.concatenate((held.sum(0)[None], held.sum(0) - held))
        shares.append(kept / np.maximum(kept.sum(1, keepdims=True), 1.0))
    distances = 0.5 * np.abs(shares[0] - shares[1]).sum(1)
    a, b = ours.mean(0), theirs.mean(0)
    worst = int(np.abs(a - b).argmax())
    return Missingness(spread(float(distances[0]), distances[1:]), tuple(map(float, a)), tuple(map(float, b)), worst)
