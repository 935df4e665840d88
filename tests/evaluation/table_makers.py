"""Tables with a known distribution, for tests of the judge."""

from __future__ import annotations

import numpy as np

from morphogen.evaluation.tables.rows import Layout, Rows

LAYOUT = Layout(
    ("age", "weight", "dose", "score", "site", "ill"),
    (0, 0, 0, 0, 4, 2),
    (1.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    ((), (), (), (), ("a", "b", "c", "d"), ("no", "yes")),
    target=5,
)


def patients(n: int, seed: int) -> Rows:
    """`n` rows of numbers and categories that depend on each other; some cells of `dose` are missing."""
    rng = np.random.default_rng(seed)
    ill = rng.random(n) < 0.4
    z = rng.standard_normal((n, 3))
    age = np.round(np.clip(50.0 + 12.0 * z[:, 0] + 8.0 * ill, 18.0, 95.0))
    weight = 70.0 + 0.5 * (age - 50.0) + 9.0 * z[:, 1] + 4.0 * z[:, 1] * z[:, 0]
    dose = np.exp(0.5 * z[:, 2] + 0.02 * (weight - 70.0))
    score = np.where(ill, 1.0, -1.0) * (1.0 + 0.3 * z[:, 2]) + 0.6 * rng.standard_normal(n)
    site = np.minimum(3, rng.poisson(1.0 + ill))
    dose[rng.random(n) < np.where(ill, 0.3, 0.1)] = np.nan
    return Rows(np.column_stack((age, weight, dose, score, site, ill)).astype(float), LAYOUT)


def numbers(cells: np.ndarray, **more: object) -> Rows:
    """Rows of numbers."""
    x = np.asarray(cells, dtype=float)
    return Rows(x, Layout(tuple(f"c{i}" for i in range(x.shape[1])), (0,) * x.shape[1], **more))  # type: ignore[arg-type]


def categories(codes: np.ndarray, size: int) -> Rows:
    """Rows of categories with `size` values each."""
    x = np.asarray(codes, dtype=float)
    return Rows(x, Layout(tuple(f"c{i}" for i in range(x.shape[1])), (size,) * x.shape[1]))
