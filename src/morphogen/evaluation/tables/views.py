"""What a page shows of made rows beside real ones: marginals, associations and a projection, as plain arrays.

No cell that fewer than five real rows hold is named: rare values are one bar, and the ends of the axes of numbers are
quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from morphogen.evaluation.tables.encoding import Encoder, most_frequent
from morphogen.evaluation.tables.marginals import LEAST_ROWS
from morphogen.evaluation.tables.reference import TableSample
from morphogen.evaluation.tables.rows import Rows

MOST_BARS = 8
BINS = 24
MOST_POINTS = 1500
Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Marginal:
    """The shares of one column.

    labels      the values of a category, "other" and "missing" where they occur; () for numbers
    edges       (K + 1) of the bins of numbers; None for categories
    made, real  the shares (K,); of numbers among the known cells
    missing     the shares of missing cells, made and real
    """

    name: str
    labels: tuple[str, ...]
    edges: Array | None
    made: Array
    real: Array
    missing: tuple[float, float]


@dataclass(frozen=True, eq=False)
class TableViews:
    """Marginals of all columns, associations (C, C) of both tables, and points (N, 2) of a projection of both.

    The projection is onto the two principal components of the real rows, standardized and one-hot; `explained` are
    their shares of the variance.
    """

    marginals: tuple[Marginal, ...]
    names: tuple[str, ...]
    associations_made: Array
    associations_real: Array
    points_made: Array
    points_real: Array
    explained: tuple[float, float]


def table_views(made: TableSample) -> TableViews:
    """The views of made rows beside as many held-out rows."""
    ours, real = made.compared, made.reference.real
    found = made.associations
    points_made, points_real, explained = _projected(ours, real)
    columns = range(len(real.layout.names))
    return TableViews(
        tuple(_marginal(ours, real, c) for c in columns),
        real.layout.names,
        found.made,
        found.real,
        points_made,
        points_real,
        explained,
    )


def _marginal(made: Rows, real: Rows, column: int) -> Marginal:
    layout = real.layout
    sides = made.cells[:, column], real.cells[:, column]
    missing = (float(np.isnan(sides[0]).mean()), float(np.isnan(sides[1]).mean()))
    known = [side[~np.isnan(side)] for side in sides]
    if layout.sizes[column]:
        common = [v for v in most_frequent(known[1], MOST_BARS) if (known[1] == v).sum() >= LEAST_ROWS]
        bars = [[float((side == v).mean()) for v in common] for side in sides]
        rest = [1.0 - sum(bar) - gone for bar, gone in zip(bars, missing, strict=True)]
        labels = [layout.named(column, int(v)) for v in common]
        for label, pair in (("other", rest), ("missing", list(missing))):
            if max(pair) > 1e-9:
                labels.append(label)
                bars = [[*bar, max(0.0, share)] for bar, share in zip(bars, pair, strict=True)]
        return Marginal(layout.names[column], tuple(labels), None, np.array(bars[0]), np.array(bars[1]), missing)
    edges = _edges(known[1] if len(known[1]) else known[0], layout.resolution(column))
    shares = [np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] / max(1, len(v)) for v in known]
    return Marginal(layout.names[column], (), edges, shares[0], shares[1], missing)


def _edges(known: Array, resolution: float) -> Array:
    """Edges of at most 24 equal bins between the 1 % and 99 % quantiles, moved between the numbers of a coarse grid."""
    if not len(known):
        return np.array([0.0, 1.0])
    low, high = np.quantile(known, [0.01, 0.99], method="nearest")
    if resolution > 0.0:
        steps = max(1.0, np.ceil(((high - low) / resolution + 1.0) / BINS)) * resolution
        count = int(np.ceil((high - low + resolution) / steps - 1e-9))
        return low - resolution / 2.0 + steps * np.arange(count + 1)
    return np.linspace(low, high if high > low else low + 1.0, BINS + 1)


def _projected(made: Rows, real: Rows) -> tuple[Array, Array, tuple[float, float]]:
    encoder = Encoder(real)
    x, y = np.clip(encoder.positions(real), -6.0, 6.0), np.clip(encoder.positions(made), -6.0, 6.0)
    mean = x.mean(0)
    values, vectors = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    axes = np.zeros((x.shape[1], 2))
    axes[:, : min(2, x.shape[1])] = vectors[:, ::-1][:, :2]
    total = max(float(values.sum()), 1e-300)
    shares = [float(v) / total for v in values[::-1][:2]] + [0.0, 0.0]
    return (
        (y[:MOST_POINTS] - mean) @ axes,
        (x[:MOST_POINTS] - mean) @ axes,
        (shares[0], shares[1]),
    )
