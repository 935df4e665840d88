"""KID: against its definition, and its unbiasedness and coverage where the truth can be enumerated."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics import kernel
from morphogen.evaluation.metrics.kernel import kid, kid_difference
from morphogen.theory.statistics.intervals import binomial_tail


def normal(seed: int, n: int, d: int = 8, shift: float = 0.0) -> Tensor:
    return Rng(seed).normal("x", n, (d,), dtype=torch.float64) + shift


def gram(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1.0) ** 3


def naive(a: Tensor, b: Tensor) -> float:
    """Means over all pairs of different records, from the whole kernel matrix."""
    n, m = len(a), len(b)
    own = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (gram(a, a), gram(b, b))]
    return float(own[0] + own[1] - 2.0 * gram(a, b).sum() / (n * m))


def test_blocks_give_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_CHUNK", 32)
    a, b = normal(0, 70), normal(1, 101, shift=0.2)
    assert kid(a, b).value == pytest.approx(naive(a, b), rel=1e-10)
    within, between = kernel._within(a), kernel._between(a, b)
    k = gram(a, a).fill_diagonal_(0.0)
    assert torch.allclose(within.rows, k.sum(1) / 69) and torch.allclose(between.columns, gram(a, b).mean(0))


def test_the_jackknife_leaves_each_record_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row sums give the same as computing the estimate anew without each record in turn."""
    a, b = normal(0, 40), normal(1, 35, shift=0.2)
    without_a = torch.tensor([naive(torch.cat((a[:i], a[i + 1 :])), b) for i in range(40)])
    aa, ab = kernel._within(a), kernel._between(a, b)
    want = 39 / 40 * float((without_a - without_a.mean()).square().sum())
    assert kernel._share(aa.rows, ab.rows) == pytest.approx(want, rel=1e-6)


def test_centered_squares_are_those_of_the_centered_kernel() -> None:
    """E h^2 is unbiased: over many samples of a distribution on six points its mean is the enumerated one.

    4 standard errors: false alarm once in 10^4.
    """
    points = normal(5, 6, 4)
    k = gram(points, points)
    h = k - k.mean(0) - k.mean(1)[:, None] + k.mean()
    truth = float(h.square().mean())
    found = {"within": [], "between": []}
    for seed in range(300):
        draw = [points[Rng(seed).integers(name, 40, 6)] for name in "ab"]
        found["within"].append(kernel._within(draw[0]).squares)
        found["between"].append(kernel._between(*draw).squares)
    for values in found.values():
        v = torch.tensor(values)
        assert abs(float(v.mean()) - truth) < 4.0 * float(v.std()) / 300**0.5


def test_unbiased_and_covering_on_a_distribution_that_can_be_enumerated() -> None:
    """400 trials each; a coverage of 95 % gives fewer than 365 hits once in 10^3; 4 standard errors of the mean."""
    points = normal(5, 6, 4)
    p = torch.full((6,), 1 / 6).double()
    for q in (p, torch.tensor([0.3, 0.2, 0.2, 0.1, 0.1, 0.1]).double()):
        truth = float((p - q) @ gram(points, points) @ (p - q))
        found = []
        for seed in range(400):
            u = Rng(seed).uniform("b", 150, dtype=torch.float64)
            b = points[torch.searchsorted(q.cumsum(0), u).clamp_max(5)]
            found.append(kid(points[Rng(seed).integers("a", 100, 6)], b))
        values = torch.tensor([f.value for f in found])
        assert abs(float(values.mean()) - truth) < 4.0 * float(values.std()) / 20.0
        hits = sum(f.interval[0] <= truth <= f.interval[1] for f in found if f.interval)
        assert 1.0 - binomial_tail(hits + 1, 400, 0.95) > 1e-3 and hits < 398


def test_float32_features_lose_nothing_on_the_way() -> None:
    """KID is a small difference of large means: features far from 0 must not be summed in float32."""
    a, b = normal(0, 300, 16, 3.0).float(), normal(1, 300, 16, 3.0).float()
    assert kid(a, b).value == pytest.approx(naive(a.double(), b.double()), rel=1e-9)


def test_the_difference_is_that_of_the_distances() -> None:
    a, b, real = normal(0, 90, shift=0.3), normal(1, 80), normal(2, 70)
    found = kid_difference(a, b, real)
    assert found.value == pytest.approx(naive(a, real) - naive(b, real), rel=1e-9)
    reverse = kid_difference(b, a, real)
    assert reverse.interval == pytest.approx((-found.interval[1], -found.interval[0]), rel=1e-9)
    hits = 0
    for seed in range(200):  # two equal models; fewer than 178 hits once in 10^3
        low, high = kid_difference(*(normal(3 * seed + i, 100, 4, (i == 2) * 0.5) for i in range(3))).interval
        hits += low <= 0.0 <= high
    assert 1.0 - binomial_tail(hits + 1, 200, 0.95) > 1e-3


def test_equal_models_are_called_different_at_the_stated_rate() -> None:
    """200 pairs of one law, away from the real one; 95 % are undecided: outside of 176 to 199 once in 10^3."""
    undecided = 0
    for i in range(200):
        a, b, real = normal(3 * i, 60, 4, 0.2), normal(3 * i + 1, 90, 4, 0.2), normal(3 * i + 2, 80, 4)
        low, high = kid_difference(a, b, real).interval
        undecided += low <= 0.0 <= high
    assert binomial_tail(undecided, 200, 0.95) > 5e-4 and 1.0 - binomial_tail(undecided + 1, 200, 0.95) > 5e-4


def test_too_few_records_are_refused() -> None:
    with pytest.raises(DataError, match="at least 32 of each are needed"):
        kid(normal(0, 31), normal(1, 100))
