"""A copy of the training rows."""

from __future__ import annotations

import numpy as np

from morphogen.evaluation.tables.rows import Rows


def training_rows(train: Rows, n: int, rng: np.random.Generator) -> Rows:
    """`n` training rows, none twice before all were taken."""
    rounds = -(-n // len(train))
    order = np.concatenate([rng.permutation(len(train)) for _ in range(rounds)])[:n]
    return train.take(order)
