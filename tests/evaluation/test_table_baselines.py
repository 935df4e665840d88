"""The trivial makers of rows: marginals, dependence, and the marks by which they are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from morphogen.evaluation.tables.baselines import BASELINES
from morphogen.evaluation.tables.baselines.copula import _Column, gaussian_copula, shrunk_copula
from morphogen.evaluation.tables.baselines.independent import independent_columns
from morphogen.evaluation.tables.baselines.smote import smote_rows
from morphogen.evaluation.tables.rows import Layout, Rows
from morphogen.theory.copula import correlations
from tests.evaluation.table_makers import categories, numbers, patients


def normal_pairs(n: int, rho: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal([0.0, 0.0], [[1.0, rho], [rho, 1.0]], size=n)


@pytest.mark.parametrize("cut", [None, 0.3, 0.8])
def test_the_copula_finds_the_correlation_behind_a_number_and_a_category(cut: float | None) -> None:
    """Of normal pairs, one of them seen only as above or below a quantile; the standard error is below 0.01."""
    z = normal_pairs(20_000, 0.7)
    other = z[:, 1] if cut is None else (z[:, 1] > stats.norm.ppf(cut)).astype(float)
    columns = [_Column(np.exp(z[:, 0]), False), _Column(other, False)]
    scores = np.column_stack([score for column in columns for score in column.scores()])
    found = correlations(torch.from_numpy(scores))
    assert found[0, 1] == pytest.approx(0.7, abs=0.03)


def test_the_copula_keeps_correlations_and_the_shrunk_one_keeps_seven_tenths() -> None:
    rows = numbers(normal_pairs(4000, 0.8))
    for make, expected in ((gaussian_copula, 0.8), (shrunk_copula, 0.56)):
        made = make(rows, 4000, np.random.default_rng(1)).cells
        assert np.corrcoef(made.T)[0, 1] == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("name", ["independent columns", "Gaussian copula", "shrunk copula"])
def test_marginals_and_missing_cells_are_kept(name: str) -> None:
    train = patients(3000, 0)
    made = BASELINES[name](train, 3000, np.random.default_rng(0))
    for c, size in enumerate(train.layout.sizes):
        a, b = (rows.cells[:, c] for rows in (made, train))
        assert np.isnan(a).mean() == pytest.approx(np.isnan(b).mean(), abs=0.03)
        known = [x[~np.isnan(x)] for x in (a, b)]
        if size:
            shares = [np.bincount(x.astype(int), minlength=size) / len(x) for x in known]
            assert np.abs(shares[0] - shares[1]).max() < 0.04
        else:
            assert stats.ks_2samp(*known).statistic < 0.05
    assert (made.cells[:, 0] == made.cells[:, 0].round()).all()  # ages stay whole


def test_independent_columns_are_independent() -> None:
    made = independent_columns(numbers(normal_pairs(4000, 0.9)), 4000, np.random.default_rng(0)).cells
    assert abs(np.corrcoef(made.T)[0, 1]) < 0.06


def test_smote_rows_lie_between_rows_of_their_class() -> None:
    """Two far classes on a line each: no made row leaves the line of its class."""
    rng = np.random.default_rng(0)
    u = rng.random(100)
    label = np.arange(100) % 2
    cells = np.column_stack((u, np.where(label, u, -u) + 10.0 * label, label))
    train = Rows(cells, Layout(("x", "y", "class"), (0, 0, 2), target=2))
    made = smote_rows(train, 300, rng).cells
    assert np.allclose(made[:, 1], np.where(made[:, 2] == 1.0, made[:, 0] + 10.0, -made[:, 0]))
    assert made[:, 0].min() >= u.min() and made[:, 0].max() <= u.max()


@pytest.mark.parametrize("name", list(BASELINES))
def test_odd_tables_are_made_too(name: str) -> None:
    """One row, a constant, an empty column, a class of one row, many values."""
    rng = np.random.default_rng(0)
    empty = np.column_stack((np.full(30, np.nan), np.full(30, 2.0), rng.integers(30, size=30), np.arange(30) == 0))
    layout = Layout(("gone", "same", "many", "class"), (0, 0, 30, 2), target=3)
    for train in (Rows(empty.astype(float), layout), patients(1, 0), categories(rng.integers(2, size=(5, 1)), 2)):
        made = BASELINES[name](train, 40, np.random.default_rng(1))
        assert made.cells.shape == (40, train.cells.shape[1])
    made = BASELINES[name](Rows(empty.astype(float), layout), 40, np.random.default_rng(1))
    assert np.isnan(made.cells[:, 0]).all() and (made.cells[:, 1] == 2.0).all()
