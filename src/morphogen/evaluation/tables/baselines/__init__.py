"""Trivial makers of synthetic rows, each from training rows alone, for the scale of every measure.

independent columns   each column drawn by itself: right marginals, no associations
Gaussian copula       right marginals, and normal dependence of pairs
shrunk copula         the same with all correlations 30 % weaker
SMOTE                 rows between two training rows: looks faithful, and gives its training rows away
training rows         a copy: perfect for every measure of fidelity, and no privacy at all
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from morphogen.evaluation.tables.baselines.copula import gaussian_copula, shrunk_copula
from morphogen.evaluation.tables.baselines.independent import independent_columns
from morphogen.evaluation.tables.baselines.smote import smote_rows
from morphogen.evaluation.tables.baselines.training_rows import training_rows
from morphogen.evaluation.tables.rows import Rows

Maker = Callable[[Rows, int, np.random.Generator], Rows]
BASELINES: dict[str, Maker] = {
    "independent columns": independent_columns,
    "Gaussian copula": gaussian_copula,
    "shrunk copula": shrunk_copula,
    "SMOTE": smote_rows,
    "training rows": training_rows,
}
