"""Intervals of statistics of two samples of rows, by leaving out groups of rows.

With T without group i of g groups, the delete-a-group jackknife estimates Var T by (g - 1)/g sum_i (T_i - mean T_i)^2
(Quenouille, 1956; Efron and Stein, 1981: it is never too small in expectation). Group i of both samples is left out at
once, so the pairs of groups are the independent units and one sum covers the variation of both samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from morphogen.core.rng import Rng
from morphogen.theory.statistics.intervals import Estimate, student_quantile

GROUPS = 20


def groups(n: int, name: str) -> np.ndarray:
    """(n,) the group of each row, in a random order that is always the same; sizes differ by one at most."""
    order = Rng(0).permutation("groups of " + name, 0, n).numpy() if n else np.zeros(0, np.int64)
    found = np.empty(n, dtype=np.int64)
    found[order] = np.arange(n) % GROUPS
    return found


def spread(value: float, without: Sequence[float] | np.ndarray) -> Estimate:
    """A value in [0, 1] with the 95 % interval of its variation, from its values without each group."""
    left = np.asarray(without, dtype=np.float64)
    if len(left) < 2 or not np.isfinite(left).all():
        return Estimate(value, None)
    variance = (len(left) - 1) / len(left) * float(((left - left.mean()) ** 2).sum())
    half = student_quantile(len(left) - 1) * variance**0.5
    return Estimate(value, (max(0.0, value - half), min(1.0, value + half)))
