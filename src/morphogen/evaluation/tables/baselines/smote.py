"""SMOTE: rows between a training row and one of its nearest neighbors.

For a training row a, one b of its 5 nearest rows (of the same class, if the target is one) and u uniform in (0, 1),

    numbers     a + u (b - a), rounded to the column's grid
    categories  the most frequent value among the neighbors of a (SMOTE-NC)

Chawla et al., "SMOTE: Synthetic minority over-sampling technique", 2002. Here it makes all rows, not only those of a
rare class. A cell that is missing in a stays missing; one that is missing in b alone is that of a.
"""

from __future__ import annotations

import numpy as np

from morphogen.evaluation.tables.encoding import Encoder, Matrix
from morphogen.evaluation.tables.rows import Cells, Rows

NEIGHBORS = 5
_AT_ONCE = 1 << 24


def smote_rows(train: Rows, n: int, rng: np.random.Generator) -> Rows:
    """`n` rows between training rows; of a class with one row, that row."""
    target, layout = train.layout.target, train.layout
    near = np.tile(np.arange(len(train))[:, None], (1, NEIGHBORS))
    positions = Encoder(train)(train)
    by_class = target is not None and layout.sizes[target] > 0
    names = np.nan_to_num(train.cells[:, target], nan=-1.0) if by_class else np.zeros(len(train))
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        if len(rows) > 1:
            found = _neighbors(positions[rows], min(NEIGHBORS, len(rows) - 1))
            near[rows] = rows[found[:, np.arange(NEIGHBORS) % found.shape[1]]]
    a = rng.integers(len(train), size=n)
    b = near[a, rng.integers(NEIGHBORS, size=n)]
    u = rng.random(n)
    cells = train.cells[a].copy()
    for c in layout.numbers:
        to = np.where(np.isnan(train.cells[b, c]), cells[:, c], train.cells[b, c])
        cells[:, c] = on_grid(cells[:, c] + u * (to - cells[:, c]), layout.resolution(c))
    for c in layout.categories:
        if c != target:
            cells[:, c] = _mode(train.cells[near[a], c], layout.sizes[c])
    return Rows(cells, layout)


def on_grid(values: Cells, resolution: float) -> Cells:
    """Numbers rounded to the column's grid; 0 is none."""
    return np.round(values / resolution) * resolution if resolution > 0.0 else values


def _neighbors(x: Matrix, k: int) -> np.ndarray:
    """(N, k) the nearest other rows."""
    lengths = (x**2).sum(1)
    found = []
    step = max(1, _AT_ONCE // len(x))
    for start in range(0, len(x), step):
        d = lengths - 2.0 * x[start : start + step] @ x.T
        d[np.arange(len(d)), np.arange(start, start + len(d))] = np.inf
        found.append(np.argpartition(d, k - 1, axis=1)[:, :k])
    return np.concatenate(found)


def _mode(values: Cells, size: int) -> Cells:
    """(N,) the most frequent of (N, k) codes, missing counted as one of them."""
    codes = np.where(np.isnan(values), size, values)
    votes = (codes[:, :, None] == codes[:, None, :]).sum(2)  # (N, k): how many hold the same value
    best = codes[np.arange(len(codes)), votes.argmax(1)]
    return np.where(best == size, np.nan, best)
