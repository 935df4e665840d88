"""Singling out: does a description that is taken from a synthetic row fit exactly one training row?

A description names 2 to 6 columns of a random synthetic row: a category has its value, a missing cell is missing, and a
number is at least the row's value where that is above the real median, or at most where it is below. It singles out if
exactly one of m training rows fits. Some descriptions fit exactly one row by chance, so the risk is the share that
single out a training row, less the share that single out one of m held-out rows.

If the synthetic rows do not depend on the training rows more than on the held-out ones, the 2 m rows may be relabeled:
the interval has the deviation of the risk over 1,000 random relabelings, and the p-value is their share with a risk at
least as large.

This is the legal notion of Recital 26 of the GDPR; Cohen and Nissim, "Towards formalizing the GDPR's notion of singling
out", 2020; Giomi et al., "A unified framework for quantifying privacy risk in synthetic data", 2023.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from morphogen.core.errors import DataError
from morphogen.evaluation.tables.distances import Halves
from morphogen.evaluation.tables.rows import Cells, Rows
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate

DESCRIPTIONS, RELABELINGS = 1000, 1000
COLUMNS = (2, 6)


class SinglingOut(NamedTuple):
    """The risk with its interval and one-sided p-value; the shares of descriptions that fit exactly one row."""

    risk: Estimate
    p_value: float
    members: float
    others: float


def singling_out(made: Rows, of: Halves, seed: int = 0) -> SinglingOut:
    """The attack on equally many training and held-out rows. Raises `DataError` for a table of one column."""
    count = len(made.layout.sizes)
    if count < COLUMNS[0]:
        raise DataError("a row is described by several columns: the table has only one.")
    rng = np.random.default_rng(seed)
    both = of.train.joined(of.held_out)
    fits = np.stack([_fits(both, made, rng) for _ in range(DESCRIPTIONS)]).astype(np.float32)
    m, total = len(of.train), fits.sum(1)
    labels = np.zeros((2 * m, RELABELINGS), np.float32)
    for column in range(RELABELINGS):
        labels[rng.permutation(2 * m)[:m], column] = 1.0
    members, others = _shares(fits[:, :m].sum(1)[:, None], total)
    chance = np.subtract(*_shares(fits @ labels, total))
    risk, deviation = float((members - others)[0]), float(chance.std())
    half = intervals.Z * deviation
    p_value = (1.0 + float((chance >= risk - 1e-9).sum())) / (1.0 + RELABELINGS)
    return SinglingOut(Estimate(risk, (risk - half, risk + half)), p_value, float(members[0]), float(others[0]))


def _shares(counts: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of descriptions with these counts (N, K) of fitting rows of the one kind: those that fit one row of each kind."""
    return (counts == 1.0).mean(0), (total[:, None] - counts == 1.0).mean(0)


def _fits(rows: Rows, made: Rows, rng: np.random.Generator) -> np.ndarray:
    """(N,) bool: the rows that a random description fits."""
    count = len(made.layout.sizes)
    size = int(rng.integers(COLUMNS[0], min(COLUMNS[1], count) + 1))
    row = made.cells[rng.integers(len(made))]
    found = np.ones(len(rows), dtype=bool)
    for c in rng.permutation(count)[:size]:
        found &= _matches(rows.cells[:, c], float(row[c]), bool(made.layout.sizes[c]))
    return found


def _matches(cells: Cells, value: float, category: bool) -> np.ndarray:
    if np.isnan(value):
        return np.isnan(cells)
    if category:
        return cells == value
    known = cells[~np.isnan(cells)]
    above = not len(known) or value > float(np.median(known))
    with np.errstate(invalid="ignore"):
        return cells >= value if above else cells <= value
