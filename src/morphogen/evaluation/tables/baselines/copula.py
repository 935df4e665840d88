"""The Gaussian copula: marginals as they are, and the dependence of a multivariate normal (`theory/copula.py`).

Each cell owns an interval of a uniform u, from the share of cells below its value to the share up to it; categories are
ordered by their frequency. Rows are drawn from N(0, R), with R from the scores of the cells, and each score is turned
back by the quantiles of its column.

A column with missing cells has a second score, missing or not. If the target is a category, each of its classes with at
least 20 rows has a copula of its own.

The shrunk copula draws from N(0, 0.7 R + 0.3 I). Its rows depend less on single training rows.
"""

from __future__ import annotations

import numpy as np
import torch

from morphogen.evaluation.tables.baselines.smote import on_grid
from morphogen.evaluation.tables.rows import Cells, Rows
from morphogen.theory.copula import correlations, interval_means

SHRINKAGE = 0.3
MIN_CLASS = 20


def gaussian_copula(train: Rows, n: int, rng: np.random.Generator) -> Rows:
    """`n` rows of the copula of the training rows."""
    return _draw(train, n, rng, 0.0)


def shrunk_copula(train: Rows, n: int, rng: np.random.Generator) -> Rows:
    """`n` rows of the copula with correlations 30 % weaker."""
    return _draw(train, n, rng, SHRINKAGE)


def _draw(train: Rows, n: int, rng: np.random.Generator, shrinkage: float) -> Rows:
    """Each class at its share, in a random order."""
    target = train.layout.target
    name = np.full(len(train), -1.0)
    if target is not None and train.layout.sizes[target]:
        name = np.nan_to_num(train.cells[:, target], nan=-1.0)
        found, held = np.unique(name, return_counts=True)
        name[np.isin(name, found[held < MIN_CLASS])] = -1.0  # small classes share one copula
    wanted = name[rng.permutation(np.resize(np.arange(len(name)), n))]
    cells = np.empty((n, train.cells.shape[1]))
    for one in np.unique(wanted):
        rows = wanted == one
        cells[rows] = _of_one(train.take(name == one), int(rows.sum()), rng, shrinkage)
    return Rows(cells, train.layout)


def _of_one(train: Rows, n: int, rng: np.random.Generator, shrinkage: float) -> Cells:
    columns = [_Column(train.cells[:, c], bool(size)) for c, size in enumerate(train.layout.sizes)]
    scores = np.column_stack([score for column in columns for score in column.scores()])
    root = _root(correlations(torch.from_numpy(scores)).numpy(), shrinkage)
    u = _phi(rng.standard_normal((n, len(root))) @ root.T)
    cells, at = np.empty((n, len(columns))), 0
    for c, column in enumerate(columns):
        cells[:, c] = column.cells(u[:, at : at + column.width], train.layout.resolution(c))
        at += column.width
    return cells


class _Column:
    """One column: its scores, and the way back."""

    def __init__(self, cells: Cells, category: bool) -> None:
        self.raw, self.missing, self.category = cells, np.isnan(cells), category
        self.share = float(self.missing.mean())
        self.partial = 0.0 < self.share < 1.0
        self.width = 2 if self.partial else 1
        self.known = np.sort(cells[~self.missing])
        values, counts = np.unique(self.known, return_counts=True)
        order = np.argsort(-counts, kind="stable") if category else np.arange(len(values))
        self.values, self.ends = values[order], np.cumsum(counts[order]) / max(1, len(self.known))

    def scores(self) -> list[Cells]:
        """One or two columns of scores (N,); NaN for missing cells."""
        z = np.full(len(self.raw), np.nan)
        if len(self.values):
            ranked = np.argsort(self.values)
            place = ranked[np.searchsorted(self.values[ranked], self.raw[~self.missing])]
            z[~self.missing] = _means(np.concatenate(([0.0], self.ends)))[place]
        if not self.partial:
            return [z]
        absent, present = _means(np.array([0.0, self.share, 1.0]))
        return [z, np.where(self.missing, absent, present)]

    def cells(self, u: Cells, resolution: float) -> Cells:
        """The cells of uniform places (N, width)."""
        if not len(self.known):
            return np.full(len(u), np.nan)
        if self.category:
            found = self.values[np.minimum(np.searchsorted(self.ends, u[:, 0], side="right"), len(self.ends) - 1)]
        else:
            places = (np.arange(len(self.known)) + 0.5) / len(self.known)
            found = on_grid(np.interp(u[:, 0], places, self.known), resolution)
        return np.where(u[:, 1] < self.share, np.nan, found) if self.partial else found


def _root(found: Cells, shrinkage: float) -> Cells:
    """L with L L^T the nearest correlations without negative eigenvalues, after the shrinkage."""
    weaker = (1.0 - shrinkage) * found + shrinkage * np.eye(len(found))
    values, vectors = np.linalg.eigh(weaker)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    return root / np.maximum(np.sqrt((root**2).sum(1, keepdims=True)), 1e-12)


def _means(ends: Cells) -> Cells:
    found: Cells = interval_means(torch.from_numpy(ends)).numpy()
    return found


def _phi(z: Cells) -> Cells:
    found: Cells = torch.special.ndtr(torch.from_numpy(z)).numpy()
    return found
