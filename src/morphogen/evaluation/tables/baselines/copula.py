"""The Gaussian copula: marginals as they are, and the dependence of a multivariate normal.

Each column becomes a standard normal score, z = Phi^-1(u), with u uniform in the interval of its distribution function
that the value owns: the mid-rank of a number among many, a random place for ties and categories, which are ordered by
their frequency. With R the correlations of the scores over the rows in which both cells are known, rows are drawn from
N(0, R), and each score is turned back by the quantiles of its column. The random place inside ties weakens
correlations; for two ordered categories the exact remedy is a polychoric correlation, which this baseline does without.

Missing cells have a score of their own: a column with missing cells has a second one, missing or not.

The shrunk copula draws from N(0, 0.7 R + 0.3 I). Its rows depend less on single training rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from morphogen.evaluation.tables.baselines.smote import on_grid
from morphogen.evaluation.tables.rows import Cells, Rows

SHRINKAGE = 0.3


def gaussian_copula(train: Rows, n: int, rng: np.random.Generator) -> Rows:
    """`n` rows of the copula of the training rows."""
    return _draw(train, n, rng, 0.0)


def shrunk_copula(train: Rows, n: int, rng: np.random.Generator) -> Rows:
    """`n` rows of the copula with correlations 30 % weaker."""
    return _draw(train, n, rng, SHRINKAGE)


def _draw(train: Rows, n: int, rng: np.random.Generator, shrinkage: float) -> Rows:
    columns = [_Column(train.cells[:, c], bool(size)) for c, size in enumerate(train.layout.sizes)]
    scores = [score for column in columns for score in column.scores(rng)]
    root = _root(_correlations(np.column_stack(scores)), shrinkage)
    u = _phi(rng.standard_normal((n, len(root))) @ root.T)
    cells, at = np.empty((n, len(columns))), 0
    for c, column in enumerate(columns):
        cells[:, c] = column.cells(u[:, at : at + column.width], train.layout.resolution(c))
        at += column.width
    return Rows(cells, train.layout)


class _Steps(NamedTuple):
    """A category's values in the order of their frequency, and the ends (K,) of their intervals in (0, 1]."""

    values: Cells
    ends: Cells


class _Column:
    """One column: its scores, and the way back."""

    def __init__(self, cells: Cells, category: bool) -> None:
        self.missing = np.isnan(cells)
        self.raw, self.category = cells, category
        self.share = float(self.missing.mean()) if len(cells) else 0.0
        self.partial = 0.0 < self.share < 1.0
        self.width = 2 if self.partial else 1
        self.known = np.sort(cells[~self.missing])
        if category:
            values, counts = np.unique(self.known, return_counts=True)
            order = np.argsort(-counts, kind="stable")
            ends = np.cumsum(counts[order]) / max(1, counts.sum())
            self.steps = _Steps(values[order], ends)

    def scores(self, rng: np.random.Generator) -> list[Cells]:
        z = np.full(len(self.raw), np.nan)
        if len(self.known):
            z[~self.missing] = _score(self._places(self.raw[~self.missing], rng))
        if not self.partial:
            return [np.nan_to_num(z)]
        inside = rng.random(len(z))
        return [z, _score(np.where(self.missing, inside * self.share, self.share + inside * (1.0 - self.share)))]

    def _places(self, values: Cells, rng: np.random.Generator) -> Cells:
        """u in (0, 1): uniform in the interval that the value owns."""
        if self.category:
            place = np.empty(len(self.steps.values), dtype=np.int64)
            ranked = np.argsort(self.steps.values)
            place = ranked[np.searchsorted(self.steps.values[ranked], values)]
            low = np.concatenate(([0.0], self.steps.ends))[place]
            return low + rng.random(len(values)) * (self.steps.ends[place] - low)
        low = np.searchsorted(self.known, values) / len(self.known)
        high = np.searchsorted(self.known, values, side="right") / len(self.known)
        alone = high - low <= 1.5 / len(self.known)
        return low + np.where(alone, 0.5, rng.random(len(values))) * (high - low)

    def cells(self, u: Cells, resolution: float) -> Cells:
        """The cells of uniform places (N, width)."""
        if not len(self.known):
            return np.full(len(u), np.nan)
        if self.category:
            at = np.minimum(np.searchsorted(self.steps.ends, u[:, 0], side="right"), len(self.steps.ends) - 1)
            found = self.steps.values[at]
        else:
            places = (np.arange(len(self.known)) + 0.5) / len(self.known)
            found = on_grid(np.interp(u[:, 0], places, self.known), resolution)
        return np.where(u[:, 1] < self.share, np.nan, found) if self.partial else found


def _correlations(z: Cells) -> Cells:
    """(E, E) over the rows in which both scores are known; 0 where nothing varies."""
    known = ~np.isnan(z)
    m, x = known.astype(float), np.nan_to_num(z)
    n = np.maximum(m.T @ m, 1.0)
    mean = x.T @ m / n
    variance = (x**2).T @ m / n - mean**2
    covariance = x.T @ x / n - mean * mean.T
    scale = np.sqrt(np.clip(variance * variance.T, 0.0, None))
    found = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 1e-9)
    np.fill_diagonal(found, 1.0)
    return found


def _root(correlations: Cells, shrinkage: float) -> Cells:
    """L with L L^T the nearest correlations without negative eigenvalues, after the shrinkage."""
    weaker = (1.0 - shrinkage) * correlations + shrinkage * np.eye(len(correlations))
    values, vectors = np.linalg.eigh(weaker)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    return root / np.maximum(np.sqrt((root**2).sum(1, keepdims=True)), 1e-12)


def _phi(z: Cells) -> Cells:
    return torch.special.ndtr(torch.from_numpy(z)).numpy()


def _score(u: Cells) -> Cells:
    return torch.special.ndtri(torch.from_numpy(np.clip(u, 1e-6, 1.0 - 1e-6))).numpy()
