"""What synthetic rows give away of the training rows, by distances: equal rows, nearest rows, and an attack.

Distances are Euclidean, of standardized numbers and one-hot categories (see `encoding`); the scales are those of the
training rows. The training rows T and the held-out rows H are made equally many, m, by drawing without replacement.

    duplicates  the share of made rows that equal a training row in every cell
    nearest     the share of made rows whose nearest row among T and H is in T; 1/2 if T was not favored
    membership  an attacker holds a row and asks if it was trained on. The score is minus the distance to the nearest
                made row. AUC: the chance that a row of T gets a higher score than one of H. Also the share of T that
                is found while 1 % of H are accused falsely

If the made rows do not depend on the training rows more than on H, T and H are exchangeable, which gives exact tests:
the labels T and H may be permuted. With w_j the number of made rows whose nearest row is row j of all 2 m, the share
has the mean 1/2 and the variance

    Var = sum_j (w_j - mean w)^2 / (4 N^2) 2m / (2m - 1).

A binomial interval would be too narrow, since a few rows are the nearest of many. The intervals have that variance.

**What this cannot show.** Distances can show that rows were copied. They cannot show privacy: other attacks see more.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from morphogen.core.errors import DataError
from morphogen.evaluation.tables.encoding import Encoder, Matrix
from morphogen.evaluation.tables.rows import Cells, Rows
from morphogen.theory.statistics import intervals, roc
from morphogen.theory.statistics.intervals import Estimate

MIN_ROWS = 20
FALSE_POSITIVES = 0.01
_AT_ONCE = 1 << 24  # distances that are held together
_TIE = 1e-9


class Duplicates(NamedTuple):
    """The shares of made rows that equal a training row, and a row that was made before; the p-value of the first.

    The p-value is of the exact test that as many made rows equal held-out rows, at equal numbers of both.
    """

    share: Estimate
    repeated: float
    held_out: float
    p_value: float


class Nearest(NamedTuple):
    """The share nearer to training rows, its p-value (one-sided), and m, the number of either kind of real rows."""

    share: Estimate
    p_value: float
    m: int


class Membership(NamedTuple):
    """AUC and true-positive rate of the attack, each with its interval and p-value (one-sided); m rows of each kind."""

    auc: Estimate
    found: Estimate
    p_auc: float
    p_found: float
    m: int


class Halves(NamedTuple):
    """Equally many training and held-out rows."""

    train: Rows
    held_out: Rows


def halves(train: Rows, held_out: Rows, seed: int = 0) -> Halves:
    """Equal numbers of both, drawn without replacement. Raises `DataError` for fewer than 20."""
    m = min(len(train), len(held_out))
    if m < MIN_ROWS:
        raise DataError(
            f"closeness to {len(train)} training rows is judged beside {len(held_out)} held-out rows: at least"
            f" {MIN_ROWS} of each are needed."
        )
    rng = np.random.default_rng(seed)
    return Halves(train.draw(m, rng), held_out.draw(m, rng))


def duplicates(made: Rows, train: Rows, of: Halves) -> Duplicates:
    """Compare all cells; numbers that differ by less than 1e-6 of the column's deviation are equal."""
    step = np.array([_step(train.cells[:, c]) for c in range(train.cells.shape[1])])
    keys, whole, some, others = (_keys(rows, step) for rows in (made, train, of.train, of.held_out))
    known = set(whole)
    count = sum(key in known for key in keys)
    counts: dict[bytes, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    w = np.array([counts.get(key, 0) for key in (*some, *others)], dtype=float)
    z = _z(w, len(some))
    return Duplicates(
        Estimate(count / len(keys), intervals.binomial_interval(count, len(keys))),
        1.0 - len(counts) / len(keys),
        sum(key in known for key in others) / len(others),
        _upper(z),
    )


def nearest(made: Rows, of: Halves, encoder: Encoder) -> Nearest:
    """The share of made rows whose nearest real row is a training row; a tie counts half."""
    x, t, h = (encoder.positions(rows) for rows in (made, of.train, of.held_out))
    to_train, in_train = closest(x, t)
    to_held_out, in_held_out = closest(x, h)
    tie = np.abs(to_train - to_held_out) <= _TIE * (1.0 + to_train)
    own = np.where(tie, 0.5, to_train < to_held_out)
    m = len(t)
    w = np.bincount(in_train, weights=own, minlength=m), np.bincount(in_held_out, weights=1.0 - own, minlength=m)
    share, deviation = float(own.mean()), _deviation(np.concatenate(w)) / len(x)
    half = intervals.Z * deviation
    z = (share - 0.5) / deviation if deviation > 0.0 else 0.0
    return Nearest(Estimate(share, (max(0.0, share - half), min(1.0, share + half))), _upper(z), m)


def membership(made: Rows, of: Halves, encoder: Encoder) -> Membership:
    """The attack by the distance to the nearest made row."""
    y, t, h = (encoder.positions(rows) for rows in (made, of.train, of.held_out))
    member, other = (torch.from_numpy(-closest(rows, y)[0]) for rows in (t, h))
    found = roc.true_positives(member - _TIE, other, FALSE_POSITIVES)
    p_auc = roc.auc_p_value(member, other)
    return Membership(roc.auc(member, other), found.found, p_auc, found.p_value, len(member))


def closest(x: Matrix, to: Matrix) -> tuple[Cells, np.ndarray]:
    """The distance (N,) of each row x to the nearest of `to`, and which one; an equal row is at distance 0."""
    center = to.mean(0)
    a, b = x - center, to - center
    lengths = (b**2).sum(1)
    index = np.concatenate(
        [(lengths - 2.0 * part @ b.T).argmin(1) for part in np.array_split(a, max(1, len(a) * len(b) // _AT_ONCE))]
    )
    return np.sqrt(((x - to[index]) ** 2).sum(1)), index


def _deviation(w: np.ndarray) -> float:
    """Of the sum of the weights of a random half of the rows."""
    n = len(w)
    return math.sqrt(float(((w - w.mean()) ** 2).sum()) / 4.0 * n / (n - 1.0))


def _z(w: np.ndarray, m: int) -> float:
    """The sum of the first m weights, in its standard deviations under permutation; 0 if there is none."""
    deviation = _deviation(w)
    return (float(w[:m].sum()) - 0.5 * float(w.sum())) / deviation if deviation > 0.0 else 0.0


def _upper(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _step(cells: Cells) -> float:
    known = cells[~np.isnan(cells)]
    deviation = float(known.std()) if len(known) else 0.0
    return 1e-6 * deviation if deviation > 0.0 else 1e-12


def _keys(rows: Rows, step: np.ndarray) -> list[bytes]:
    codes = np.where(np.isnan(rows.cells), np.inf, np.round(rows.cells / step))
    return [row.tobytes() for row in codes + 0.0]
