"""Attribute inference: an attacker knows all cells of a row but one, and guesses that one by the synthetic rows.

The guess is the cell of the nearest synthetic row by the other columns (`evaluation/tables/encoding.py`). A category is
right if it is equal, and a number within 5 % of the distance from the 5 % to the 95 % quantile of the real column; a
missing cell is right if it is guessed to be missing. Each of the columns is the secret in turn, at most 20 of them.

What holds for the population is guessed as well for rows that were not trained on. So the risk is the share of right
guesses for training rows, less that for as many held-out rows. With s_i the share of right guesses of row i, rows of
both kinds are exchangeable if the synthetic rows do not depend on the training rows more, and the test compares the
difference of the means with its variance over all relabelings, (2 / m) var(s).

Giomi, Boenisch, Wehmeyer and Tasnadi, "A unified framework for quantifying privacy risk in synthetic data", 2023.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.tables.distances import Halves, closest
from morphogen.evaluation.tables.encoding import Encoder
from morphogen.evaluation.tables.rows import Cells, Rows
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate

MOST_COLUMNS = 20
NEAR = 0.05


class Inference(NamedTuple):
    """The risk with its interval and one-sided p-value; the shares of right guesses of both kinds of rows."""

    risk: Estimate
    p_value: float
    members: float
    others: float


def attribute_inference(made: Rows, of: Halves, real: Rows, seed: int = 0) -> Inference:
    """The attack on equally many training and held-out rows; `real` rows give the scales.

    Raises `DataError` for a table of one column.
    """
    count = len(real.layout.sizes)
    if count < 2:
        raise DataError("an attribute is guessed from the others: the table has only one column.")
    secrets = Rng(seed).permutation("secrets", 0, count)[:MOST_COLUMNS].tolist()
    right = [np.mean([_right(made, rows, real, c) for c in secrets], axis=0) for rows in (of.train, of.held_out)]
    m = len(of.train)
    members, others = (float(s.mean()) for s in right)
    null = 2.0 / m * float(np.concatenate(right).var(ddof=1))
    at = sum(float(s.var(ddof=1)) for s in right) / m
    z = (members - others) / math.sqrt(null) if null > 0.0 else 0.0
    risk = intervals.difference(members - others, max(null, 1.0 / (4.0 * m * m)), at)
    return Inference(risk, 0.5 * math.erfc(z / math.sqrt(2.0)), members, others)


def _right(made: Rows, rows: Rows, real: Rows, secret: int) -> np.ndarray:
    """(N,) whether the cell of each row in the column `secret` is guessed right."""
    encoder = Encoder(real, without=(secret,))
    nearest = closest(encoder.positions(rows), encoder.positions(made))[1]
    truth, guess = rows.cells[:, secret], made.cells[nearest, secret]
    within = _tolerance(real.cells[:, secret]) if not real.layout.sizes[secret] else 0.0
    known = np.abs(np.nan_to_num(truth) - np.nan_to_num(guess)) <= within
    return np.where(np.isnan(truth) | np.isnan(guess), np.isnan(truth) & np.isnan(guess), known)


def _tolerance(cells: Cells) -> float:
    known = cells[~np.isnan(cells)]
    low, high = np.quantile(known, [0.05, 0.95]) if len(known) else (0.0, 0.0)
    return NEAR * float(high - low)
