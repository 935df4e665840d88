"""The Frechet distance: its expansion against the exact gradient, its bias and interval against known truths."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.frechet import SquaredDistance, _expansion, frechet, frechet_difference, least, parts
from morphogen.evaluation.metrics.frechet_expansion import Moments
from morphogen.theory.divergences import frechet_distance
from morphogen.theory.statistics.intervals import binomial_tail, shuffled


def normal(seed: int, n: int, d: int = 8, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    return scale * Rng(seed).normal("x", n, (d,), dtype=torch.float64) + shift


def plain(a: Tensor, b: Tensor) -> float:
    return float(frechet_distance(a.mean(0), a.T.cov(), b.mean(0), b.T.cov()))


def test_value_and_bias_add_up_to_the_distance_of_the_samples() -> None:
    a, b = normal(0, 300), normal(1, 250, scale=1.2, shift=0.1)
    found = frechet(a, b)
    assert found.value + found.bias == pytest.approx(plain(a, b), rel=1e-10)
    assert found.bias > 0.0


def test_the_updated_sums_of_a_group_equal_the_moments_of_the_rest() -> None:
    """The bias by its definition: every group left out, and the distance taken from the remaining records."""
    a, b = normal(0, 110, 4), normal(1, 123, 4, 1.2)
    groups, bias, whole = 7, 0.0, plain(a, b)
    for side, (x, name) in enumerate(((a, "first"), (b, "second"))):
        chunks = shuffled(x, name).tensor_split(groups)
        for i in range(groups):
            rest = torch.cat(chunks[:i] + chunks[i + 1 :])
            bias += (groups - 1) / groups * ((plain(rest, b) if side == 0 else plain(a, rest)) - whole)
    assert frechet(a, b, groups).bias == pytest.approx(bias, rel=1e-9)


def influences(x: Tensor, y: Tensor, correction: int) -> Tensor:
    """2 (m_x - m_y)^T c + c^T (I - T) c with T = X^-1/2 (X^1/2 Y X^1/2)^1/2 X^-1/2, the transport from x to y."""
    c, cov_x, cov_y = x - x.mean(0), x.T.cov(correction=correction), y.T.cov(correction=correction)

    def power(matrix: Tensor, p: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        return (vectors * values**p) @ vectors.T

    root = power(cov_x, 0.5)
    transport = power(cov_x, -0.5) @ power(root @ cov_y @ root, 0.5) @ power(cov_x, -0.5)
    return 2.0 * c @ (x.mean(0) - y.mean(0)) + c.square().sum(1) - ((c @ transport) * c).sum(1)


def test_influences_are_the_derivative_of_the_distance_and_make_the_jackknife() -> None:
    """Reweighting record i by 1 + e w_i moves F by e mean w_i l(x_i) + O(e^2), where mean w = 0."""
    a, b = normal(0, 60, 3), normal(1, 50, 3, 1.3, 0.2)
    w = normal(2, 60, 1).squeeze(1)
    w -= w.mean()

    def distance(e: Tensor) -> Tensor:
        p = (1.0 + e * w) / 60
        mean = p @ a
        cov, target = (p[:, None] * (a - mean)).T @ (a - mean), b.T.cov(correction=0)
        root = torch.linalg.cholesky(target)  # (R^T A R)^1/2 has the same trace for any root R
        cross = torch.linalg.eigvalsh(root.T @ cov @ root).sqrt().sum()
        return (mean - b.mean(0)).square().sum() + cov.trace() + target.trace() - 2.0 * cross

    e = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(distance(e), e)
    assert float(slope) == pytest.approx(float((w * influences(a, b, 0)).mean()), rel=1e-8)
    want = influences(a, b, 1).var() / 60 + influences(b, a, 1).var() / 50
    assert expansion(a, b).jackknife == pytest.approx(float(want), rel=1e-8)


def expansion(a: Tensor, b: Tensor) -> SquaredDistance:
    """The second-order expansion of all records at once."""
    return _expansion(a, b, Moments.of(a), Moments.of(b))


def test_bias_and_pairs_of_whitened_gaussians_are_known() -> None:
    """There Cov z has D eigenvalues 1 and D (D + 1) / 2 of 1/2. Their estimates at n = 4000 scatter by 1 to 2 %."""
    n, d = 4000, 6
    found = expansion(normal(0, n, d), normal(1, n, d))
    assert found.noise == pytest.approx(2.0 / n * (d + d * (d + 1) / 4), rel=0.1)
    assert found.pairs == pytest.approx(8.0 / n**2 * (d + d * (d + 1) / 8), rel=0.1)


def test_bias_is_gone_and_intervals_cover_for_one_and_two_distributions() -> None:
    """150 trials; a coverage of 95 % gives fewer than 131 hits once in 10^3, the mean strays by 4 errors in 10^4."""
    d, trials = 5, 150
    for scale in (1.0, 1.3):
        truth = d * (scale - 1.0) ** 2
        found = [frechet(normal(2 * i, 150, d), normal(2 * i + 1, 150, d, scale)) for i in range(trials)]
        values, biases = (torch.tensor([f[i] for f in found]) for i in (0, 2))
        hits = sum(f.interval[0] <= truth <= f.interval[1] for f in found if f.interval)
        error = float(values.std()) / trials**0.5
        assert abs(float(values.mean()) - truth) < 4.0 * error < float(biases.mean())
        assert 1.0 - binomial_tail(hits + 1, trials, 0.95) > 1e-3


def test_order_shift_and_rotation_do_not_matter() -> None:
    a, b = normal(0, 200, 6), normal(1, 200, 6, 1.1)
    q = torch.linalg.qr(normal(2, 6, 6))[0]
    found, moved = frechet(a, b), frechet(a @ q + 100.0, b @ q + 100.0)
    assert moved.value == pytest.approx(found.value, rel=1e-8)
    assert moved.interval == pytest.approx(found.interval, rel=1e-6)
    by_size = frechet(a[a[:, 0].argsort()], b[b[:, 0].argsort()])
    assert by_size.value == pytest.approx(found.value, abs=0.5 * (found.interval[1] - found.interval[0]))


def test_constant_features_add_nothing() -> None:
    a, b = normal(0, 300, 4), normal(1, 300, 4, 1.2)
    constant = torch.full((300, 2), 0.7).double()
    found, wider = frechet(a, b), frechet(torch.cat((a, constant), 1), torch.cat((b, constant), 1))
    assert wider.value == pytest.approx(found.value, rel=1e-9)
    assert wider.interval == pytest.approx(found.interval, rel=1e-6)


def test_the_difference_is_that_of_the_distances_and_narrower_than_theirs() -> None:
    a, b, real = normal(0, 400, shift=0.3), normal(1, 400, shift=0.32), normal(2, 400)
    found, one, other = frechet_difference(a, b, real), frechet(a, real), frechet(b, real)
    assert found.value + found.bias == pytest.approx(plain(a, real) - plain(b, real), rel=1e-9)
    assert found.value == pytest.approx(one.value - other.value, abs=0.02)
    same = frechet_difference(a, a, real)
    assert same.value == pytest.approx(0.0, abs=1e-12)
    reverse = frechet_difference(b, a, real)
    assert reverse.interval[0] < -found.value < reverse.interval[1]
    assert found.interval[0] < 0.0 < found.interval[1]  # they differ by less than can be told
    far = frechet_difference(normal(3, 400, shift=1.0), b, real)
    assert far.interval[0] > 0.0


def test_equal_models_are_called_different_at_the_stated_rate_and_unlike_ones_are_told_apart() -> None:
    """200 pairs of one law, away from the real one; 95 % are undecided: outside of 176 to 199 once in 10^3."""
    undecided, right = 0, 0
    for i in range(200):
        a, b, real = normal(3 * i, 60, 3, 1.1), normal(3 * i + 1, 90, 3, 1.1), normal(3 * i + 2, 80, 3)
        low, high = frechet_difference(a, b, real, groups=4).interval
        undecided += low <= 0.0 <= high
        right += i < 40 and frechet_difference(a, b + 0.6, real, groups=4).interval[1] < 0.0
    assert binomial_tail(undecided, 200, 0.95) > 5e-4 and 1.0 - binomial_tail(undecided + 1, 200, 0.95) > 5e-4
    assert right > 30


def test_too_few_records_are_refused_with_the_reason() -> None:
    assert least(96) == 384
    with pytest.raises(DataError, match="at least 40 of each are needed: covariances in D = 4 dimensions need 4 D"):
        frechet(normal(0, 39, 4), normal(1, 400, 4))
    with pytest.raises(UsageError, match="at least 2 groups"):
        parts(normal(0, 100), normal(1, 100), groups=1)
