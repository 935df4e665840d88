"""Quantiles and binomial intervals against scipy; the jackknife where its answer is known."""

from __future__ import annotations

import pytest
import scipy.stats
import torch

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.theory.statistics.intervals import (
    SquaredDistance,
    Z,
    binomial_interval,
    binomial_tail,
    difference,
    group_jackknife,
    jackknife_bias,
    samples,
    shuffled,
    student_quantile,
)


@pytest.mark.parametrize("freedom", [6.0, 9.5, 19.0, 38.0, 1e6])
def test_student_quantiles_equal_scipy(freedom: float) -> None:
    assert student_quantile(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=1e-3)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (1, 30), (497, 1000), (9990, 10_000)])
@pytest.mark.parametrize("level", [0.95, 0.999])
def test_binomial_intervals_and_tails_equal_scipy(k: int, n: int, level: float) -> None:
    want = scipy.stats.binomtest(k, n).proportion_ci(level, method="exact")
    assert binomial_interval(k, n, level) == pytest.approx((want.low, want.high), abs=1e-9)
    for p in (0.0, 0.01, 0.5, 1.0):
        assert binomial_tail(k, n, p) == pytest.approx(scipy.stats.binom.sf(k - 1, n, p), rel=1e-8, abs=1e-300)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    """With one record a group the variance is s^2 / n, and a mean has no bias."""
    x = Rng(0).normal("x", 40, dtype=torch.float64)
    without = (x.sum() - x) / 39
    found = group_jackknife(float(x.mean()), without)
    assert found.bias == pytest.approx(0.0, abs=1e-12)
    assert found.interval is not None
    half = scipy.stats.t.ppf(0.975, 39) * float(x.std()) / 40**0.5
    assert found.interval == pytest.approx((float(x.mean()) - half, float(x.mean()) + half), rel=1e-4)


def test_the_jackknife_removes_the_bias_of_a_plug_in_variance() -> None:
    """It turns the mean square about the mean, whose divisor is n, into the one with n - 1, exactly."""
    x = Rng(1).normal("x", 30, dtype=torch.float64)
    plug_in = float(x.var(correction=0))
    without = torch.stack([torch.cat((x[:i], x[i + 1 :])).var(correction=0) for i in range(30)])
    assert plug_in - jackknife_bias(plug_in, without) == pytest.approx(float(x.var()), rel=1e-10)


def test_independent_samples_add_their_variances() -> None:
    x, y = (Rng(2).normal(name, 40, dtype=torch.float64) for name in "xy")
    difference = float(x.mean() - y.mean())
    found = group_jackknife(difference, (x.sum() - x) / 39 - y.mean(), x.mean() - (y.sum() - y) / 39)
    welch = scipy.stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert found.interval == pytest.approx((welch.low, welch.high), rel=1e-4)


def test_a_squared_distance_is_that_of_two_known_normals() -> None:
    """T = x^2 - 1 for x ~ N(m, 1): theta = m^2, b = 1, Q = 2, J = 4 x^2, so c = 4 and the interval is exact in c.

    The truth is covered if (T - theta)^2 <= Z^2 (2 + 4 theta), known without any sampling.
    """
    for m in (0.0, 0.3, 2.0, 20.0):
        for x in m + torch.linspace(-3.0, 3.0, 61).double():
            value = float(x**2) - 1.0
            found = SquaredDistance(value, 1.0, 4.0 * float(x**2), 2.0).estimate()
            assert found.interval is not None and found.interval[0] <= found.value <= found.interval[1]
            gap = (value - m**2) ** 2 - Z**2 * (2.0 + 4.0 * m**2)
            if abs(gap) > 1e-6:
                assert (found.interval[0] <= m**2 <= found.interval[1]) == (gap < 0.0)


def test_a_squared_distance_far_from_zero_has_the_usual_interval() -> None:
    found = SquaredDistance(1000.0, 0.1, 4.0, 1e-4).estimate()
    assert found.interval == pytest.approx((1000.0 - 2 * Z, 1000.0 + 2 * Z), rel=1e-4)
    assert SquaredDistance(0.0, 0.0, 0.0, 0.0).estimate().interval == (0.0, 0.0)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.9, 2.1, 30.0])
@pytest.mark.parametrize("variance", [0.5, 1.0, 9.0])
def test_an_interval_of_a_difference_ends_where_its_value_contradicts(value: float, variance: float) -> None:
    low, high = difference(value, 1.0, variance).interval
    slope = max(0.0, variance - 1.0) / (value + 1.0)
    for theta in (low, high):
        assert (value - theta) ** 2 == pytest.approx(1.959964**2 * (1.0 + slope * abs(theta)), rel=1e-5)
    assert (low <= 0.0) == (value <= 1.959964)  # the test of 0 takes the variance under 0 alone
    assert difference(-value, 1.0, variance).interval == pytest.approx((-high, -low))


def test_a_difference_far_from_zero_has_the_usual_interval() -> None:
    low, high = difference(1e6, 1.0, 400.0).interval
    assert (high - low) == pytest.approx(2 * 1.959964 * 20.0, rel=1e-4)
    assert difference(0.0, 0.0, 0.0).interval == (0.0, 0.0)


def test_samples_are_refused_with_the_reason() -> None:
    x = torch.zeros(10, 3)
    with pytest.raises(DataError, match="10 and 20 records are compared, and at least 11 of each are needed: because"):
        samples(x, torch.zeros(20, 3), 11, "because")
    with pytest.raises(DataError, match="through the same network"):
        samples(x, torch.zeros(10, 4), 2, "")
    x[4, 1] = torch.nan
    with pytest.raises(DataError, match=r"second of the two sets .* NaN .* 1 of 10 records \(the first is record 4\)"):
        samples(torch.zeros(10, 3), x, 2, "")


def test_shuffling_keeps_the_records_and_is_always_the_same() -> None:
    x = torch.arange(100)
    assert torch.equal(shuffled(x, "a").sort().values, x)
    assert torch.equal(shuffled(x, "a"), shuffled(x, "a"))
    assert not torch.equal(shuffled(x, "a"), shuffled(x, "b")) and not torch.equal(shuffled(x, "a"), x)
