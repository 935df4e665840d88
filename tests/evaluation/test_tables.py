"""Tables: marginals and associations against scipy and scikit-learn, and their intervals."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.tables import Kind, associations, marginals, table_test
from morphogen.theory.statistics.intervals import binomial_tail

KINDS: tuple[Kind, ...] = ("number", "number", "category", "category")


def table(seed: int, n: int, rho: float = 0.5, shift: float = 0.0) -> Tensor:
    z, u = Rng(seed).normal("z", n, (3,), dtype=torch.float64), Rng(seed).integers("u", n, 3)
    y = rho * z[:, 0] + (1 - rho**2) ** 0.5 * z[:, 1]
    k = (z[:, 0] + z[:, 2] > 0).double() + (y > 1).double()
    return torch.stack((z[:, 0] + shift, y.round(decimals=1), k, torch.where(u == 2, k, u.double())), 1)


def test_marginals_equal_scipy_and_counting() -> None:
    a, b = table(0, 300), table(1, 200, shift=0.4)
    found = marginals(a, b, KINDS)
    for c in (0, 1):  # the second has ties
        assert found[c].value == pytest.approx(scipy.stats.ks_2samp(a[:, c], b[:, c]).statistic, abs=1e-12)
    for c in (2, 3):
        counts = [torch.bincount(x[:, c].long(), minlength=3).double() / len(x) for x in (a, b)]
        assert found[c].value == pytest.approx(0.5 * float((counts[0] - counts[1]).abs().sum()), abs=1e-12)


def test_associations_equal_scipy() -> None:
    a, b = table(0, 400), table(1, 300, 0.2)
    found = associations(a, b, KINDS)
    for x, got in ((a, found.a), (b, found.b)):
        assert float(got[0, 1]) == pytest.approx(scipy.stats.pearsonr(x[:, 0], x[:, 1]).statistic, rel=1e-9)
        counts = torch.zeros(3, 3)
        counts.index_put_((x[:, 2].long(), x[:, 3].long()), torch.ones(len(x)), accumulate=True)
        want = scipy.stats.contingency.association(counts.long().numpy(), method="cramer")
        assert float(got[2, 3]) == pytest.approx(want, rel=1e-6)
        groups = [x[x[:, 2] == k, 0] for k in range(3)]
        between = sum(len(g) * (g.mean() - x[:, 0].mean()) ** 2 for g in groups)
        assert float(got[0, 2]) == pytest.approx(float(between / ((len(x) - 1) * x[:, 0].var())) ** 0.5, rel=1e-9)
        assert torch.equal(got, got.T) and got.diagonal().tolist() == [1.0] * 4
    off = ~torch.eye(4, dtype=torch.bool)
    assert found.mean.value + found.mean.bias == pytest.approx(float((found.a - found.b).abs()[off].mean()), rel=1e-6)


def test_a_constant_column_goes_with_nothing() -> None:
    a, b = (torch.cat((table(s, 200), torch.full((200, 1), 0.1)), 1) for s in (0, 1))
    found = associations(a, b, (*KINDS, "number"))
    assert found.a[4, :4].tolist() == [0.0] * 4 and torch.isfinite(torch.tensor(found.mean.interval)).all()


def test_marginal_intervals_hold_together_at_least_at_their_rate() -> None:
    """200 trials; 95 % give fewer than 178 hits once in 10^3. The inequality is wide: more is expected."""
    hits = 0
    for seed in range(200):
        found = marginals(table(2 * seed, 100), table(2 * seed + 1, 100), KINDS)
        hits += all(f.interval[0] <= 0.0 for f in found)
    assert 1.0 - binomial_tail(hits + 1, 200, 0.95) > 1e-3
    far = marginals(table(0, 2000), table(1, 2000, shift=1.0), KINDS)
    assert far[0].interval[0] > 0.2 and far[2].interval[0] == 0.0


def test_the_mean_difference_is_covered_where_pairs_differ() -> None:
    """100 trials, two numbers of correlation 0.7 and 0: fewer than 86 hits come once in 10^3."""
    hits = 0
    for seed in range(100):
        x, y = (table(2 * seed + i, 300, rho)[:, :2] for i, rho in enumerate((0.7, 0.0)))
        low, high = associations(x, y, KINDS[:2]).mean.interval
        hits += low <= 0.7 <= high
    assert 1.0 - binomial_tail(hits + 1, 100, 0.95) > 1e-3


def test_the_two_sample_test_sees_changed_columns_and_changed_pairs() -> None:
    a = table(0, 800)
    assert table_test(a, table(1, 800), KINDS, Rng(0)).p_value > 1e-3
    assert table_test(a, table(1, 800, shift=0.5), KINDS, Rng(0)).p_value < 1e-6
    shuffled = a.clone()
    shuffled[:, 2] = a[Rng(0).permutation("rows", 0, 800), 2]  # the same marginals
    assert table_test(table(1, 800), shuffled, KINDS, Rng(0)).p_value < 1e-6


def test_bad_tables_are_refused() -> None:
    with pytest.raises(DataError, match="at least 50 of each are needed"):
        marginals(table(0, 49), table(1, 100), KINDS)
    with pytest.raises(DataError, match="2 kinds of columns came with tables of 4"):
        marginals(table(0, 100), table(1, 100), KINDS[:2])
    with pytest.raises(DataError, match="column 0 is said to hold category codes"):
        marginals(table(0, 100), table(1, 100), ("category", *KINDS[1:]))
    with pytest.raises(DataError, match="needs two columns"):
        associations(table(0, 100)[:, :1], table(1, 100)[:, :1], KINDS[:1])
