"""The Gaussian copula of rows: scores, correlations and likelihoods against enumeration and closed forms."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from scipy import integrate, stats

from morphogen.core.columns import Column, Table
from morphogen.core.rng import Rng
from morphogen.theory.copula import copula_rows, correlations, independent_rows, interval_means, positive
from tests.columns import of_numbers


def two_categories() -> Table:
    """Columns of 2 and 3 values, the second of which may be missing."""
    return Table(
        columns=(
            Column(name="a", type="boolean", values=("no", "yes")),
            Column(name="b", type="category", values=("x", "y", "z"), missing=0.1),
        )
    )


def rows(n: int, seed: int = 0) -> torch.Tensor:
    u = Rng(seed).uniform("rows", n, (2,), torch.float64)
    a = (u[:, 0] > 0.6).double()
    b = torch.where(u[:, 1] < 0.1, torch.nan, (a + (u[:, 1] > 0.5)).clamp_max(2.0))
    return torch.stack((a, b), 1)


def test_scores_are_means_of_intervals() -> None:
    ends = torch.tensor([0.0, 0.2, 0.65, 1.0], dtype=torch.float64)
    found = interval_means(ends)
    for k in range(3):
        low, high = stats.norm.ppf(ends[k]), stats.norm.ppf(ends[k + 1])
        mass = integrate.quad(lambda z: z * stats.norm.pdf(z), low, high)[0] / float(ends[k + 1] - ends[k])
        assert float(found[k]) == pytest.approx(mass, abs=1e-8)
    assert float((found * ends.diff()).sum()) == pytest.approx(0.0, abs=1e-12)


def test_without_ties_the_correlations_are_those_of_the_scores() -> None:
    """Scores of variance v = 1: Cov / 1 = the correlation."""
    z = Rng(0).normal("z", 4000, (2,), dtype=torch.float64)
    z[:, 1] = 0.6 * z[:, 0] + 0.8 * z[:, 1]
    z = (z - z.mean(0)) / z.std(0, correction=0)
    assert float(correlations(z)[0, 1]) == pytest.approx(float((z[:, 0] * z[:, 1]).mean()), abs=1e-12)


def test_a_matrix_is_brought_to_one_without_negative_eigenvalues() -> None:
    strange = torch.tensor([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]], dtype=torch.float64)
    found = positive(strange)
    assert torch.allclose(found.diagonal(), torch.ones(3, dtype=torch.float64))
    assert float(torch.linalg.eigvalsh(found).min()) >= -1e-12


def all_rows() -> torch.Tensor:
    return torch.tensor(list(product((0.0, 1.0), (0.0, 1.0, 2.0, torch.nan))), dtype=torch.float64)


def test_the_probabilities_of_all_rows_sum_to_one() -> None:
    train = rows(300)
    assert float(independent_rows(two_categories(), train, all_rows()).exp().sum()) == pytest.approx(1.0, abs=1e-12)
    found = copula_rows(two_categories(), train, all_rows(), Rng(0), draws=300).exp().sum()
    assert float(found) == pytest.approx(1.0, abs=0.01)  # each box is a mean of 300 draws


def yes_and_no() -> Table:
    return Table(columns=tuple(Column(name=n, type="boolean", values=("no", "yes")) for n in "ab"))


def pairs(n: int, seed: int = 0) -> torch.Tensor:
    """Two equal columns, of which a quarter of the second is flipped."""
    found = rows(n, seed)[:, [0, 0]].clone()
    flip = Rng(seed + 1).uniform("flip", n, (), torch.float64) < 0.25
    found[:, 1] = torch.where(flip, 1.0 - found[:, 1], found[:, 1])
    return found


def test_the_probability_of_a_row_is_that_of_its_box() -> None:
    """The probability of two frequent values is that of a quadrant of a normal in the plane."""
    train = pairs(1000)
    shares = [(float((train[:, j] == 0.0).sum()) + 1.0) / 1002.0 for j in (0, 1)]
    assert all(share >= 0.5 for share in shares)  # so they come first
    scores = []
    for j in (0, 1):
        means = interval_means(torch.tensor([0.0, shares[j], 1.0], dtype=torch.float64))
        scores.append(torch.where(train[:, j] == 0.0, means[0], means[1]))
    r = 0.99 * float(correlations(torch.stack(scores, 1))[0, 1])
    ends = [stats.norm.ppf(share) for share in shares]
    exact = stats.multivariate_normal([0.0, 0.0], [[1.0, r], [r, 1.0]]).cdf(ends)
    one = torch.zeros(1, 2, dtype=torch.float64)
    found = copula_rows(yes_and_no(), train, one, Rng(0), draws=1000).exp()
    assert float(found) == pytest.approx(exact, rel=0.03)


def test_dependence_makes_rows_more_likely() -> None:
    """The mutual information of the pairs is 0.12 nats."""
    train, held_out = pairs(600), pairs(600, seed=5)
    copula = copula_rows(yes_and_no(), train, held_out, Rng(0)).mean()
    assert float(copula) > float(independent_rows(yes_and_no(), train, held_out).mean()) + 0.06


def test_numbers_are_uniform_within_their_bins() -> None:
    """Sums to one over the grid."""
    values = (Rng(0).uniform("v", 500, (), torch.float64) * 40).floor()
    column = of_numbers("n", values.numpy(), 1.0, "integer")
    table = Table(columns=(column,))
    grid = torch.arange(column.low, column.high + 1.0, dtype=torch.float64)[:, None]
    assert float(independent_rows(table, values[:, None], grid).exp().sum()) == pytest.approx(1.0, abs=1e-12)


def test_columns_that_are_nearly_equal_keep_a_finite_likelihood() -> None:
    """Thirty columns of one number with a little noise: far more likely together than each by itself."""
    z = Rng(0).normal("z", 400, (31,), dtype=torch.float64)
    values = z[:, :1] + 0.1 * z[:, 1:]
    table = Table(columns=tuple(of_numbers(f"c{j}", values[:200, j].numpy()) for j in range(30)))
    train, held_out = values[:200], values[200:].clamp(values[:200].amin(0), values[:200].amax(0))
    together = copula_rows(table, train, held_out, Rng(0))
    assert torch.isfinite(together).all()
    assert float(together.mean()) > float(independent_rows(table, train, held_out).mean()) + 10.0
