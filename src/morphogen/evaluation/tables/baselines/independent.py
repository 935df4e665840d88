"""Rows whose columns are drawn independently of each other from the training rows' cells."""

from __future__ import annotations

import numpy as np

from morphogen.evaluation.tables.rows import Rows


def independent_columns(train: Rows, n: int, rng: np.random.Generator) -> Rows:
    """`n` rows; each cell is that of a random training row, missing cells included."""
    at = rng.integers(len(train), size=(n, train.cells.shape[1]))
    return Rows(np.take_along_axis(train.cells, at, axis=0), train.layout)
