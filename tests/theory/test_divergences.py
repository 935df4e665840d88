"""Divergences: closed forms against quadrature and independent code; tests of samples at their stated level."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
import scipy.stats
import torch
from torch import Tensor

from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.energy import closer_test
from morphogen.theory.divergences import frechet_distance
from tests.oracles.divergences import energy_distance, gaussian_kl, jensen_shannon


def moments(seed: int, d: int = 4) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    root = torch.randn(d, d + 2, generator=g).double()
    return torch.randn(d, generator=g).double(), root @ root.T


def normal(seed: int, n: int, d: int = 2, shift: float = 0.0) -> Tensor:
    return Rng(seed).normal("x", n, (d,)) + shift


# ------------------------------------------------------------- closed forms


def test_gaussian_kl_equals_torch_and_quadrature() -> None:
    (m, a), (n, b) = moments(0), moments(1)
    reference = torch.distributions.MultivariateNormal
    want = torch.distributions.kl_divergence(reference(m, a), reference(n, b))
    assert float(gaussian_kl(m, a, n, b)) == pytest.approx(float(want), rel=1e-12)
    assert abs(float(gaussian_kl(m, a, m, a))) < 1e-12
    (m, a), (n, b) = moments(2, 1), moments(3, 1)
    x = torch.linspace(-60, 60, 200_001).double()
    p, q = (scipy.stats.norm(float(v), math.sqrt(float(c))) for v, c in ((m, a), (n, b)))
    log_ratio = torch.from_numpy(p.logpdf(x) - q.logpdf(x))
    quadrature = torch.trapezoid(torch.from_numpy(p.pdf(x)) * log_ratio, x)
    assert float(gaussian_kl(m, a, n, b)) == pytest.approx(float(quadrature), rel=1e-10)


def test_frechet_distance_equals_the_matrix_square_root_formula() -> None:
    (m, a), (n, b) = moments(4), moments(5)
    want = (m - n).square().sum() + (a + b).trace() - 2 * np.trace(scipy.linalg.sqrtm((a @ b).numpy()).real)
    assert float(frechet_distance(m, a, n, b)) == pytest.approx(float(want), rel=1e-10)
    assert float(frechet_distance(n, b, m, a)) == pytest.approx(float(want), rel=1e-10)


def test_frechet_distance_of_commuting_and_singular_covariances() -> None:
    a, b = torch.tensor([4.0, 1.0, 0.0]).double(), torch.tensor([9.0, 0.0, 0.0]).double()
    zero = torch.zeros(3).double()
    want = (a.sqrt() - b.sqrt()).square().sum()
    assert float(frechet_distance(zero, a.diag(), zero, b.diag())) == pytest.approx(float(want), abs=1e-12)
    mean, cov = moments(6)
    assert abs(float(frechet_distance(mean, cov, mean, cov))) < 1e-12 * float(cov.trace())
    assert float(frechet_distance(mean, cov, mean + 2.0, cov)) == pytest.approx(16.0, abs=1e-12 * float(cov.trace()))


def test_jensen_shannon_on_a_grid() -> None:
    x = np.linspace(-12, 12, 4801)
    p, q = scipy.stats.norm(0, 1).pdf(x), scipy.stats.norm(1, 2).pdf(x)
    cell = x[1] - x[0]
    got = float(jensen_shannon(torch.from_numpy(p), torch.from_numpy(q), cell))
    assert got == pytest.approx(scipy.spatial.distance.jensenshannon(p * cell, q * cell) ** 2, rel=1e-6)
    halves = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
    assert float(jensen_shannon(*halves)) == pytest.approx(math.log(2), rel=1e-15)
    assert float(jensen_shannon(halves[0], halves[0])) == 0.0


# ---------------------------------------------------------- energy distance


def test_energy_distance_equals_its_definition() -> None:
    x, y = normal(0, 7), normal(1, 5, shift=0.3)
    cross = np.mean([math.dist(a, b) for a in x for b in y])
    within = [np.mean([math.dist(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    assert float(energy_distance(x, y)) == pytest.approx(2 * cross - sum(within), rel=1e-6)
    # scipy's, of the two empirical distributions, counts each sample's distance 0 to itself.
    x, y = x[:, :1], y[:, :1]
    spread = [np.abs(s - s.T).sum() for s in (x.double().numpy(), y.double().numpy())]
    with_self = float(energy_distance(x, y)) + sum(
        s * (1 / (n * (n - 1)) - 1 / n**2) for s, n in zip(spread, (7, 5), strict=True)
    )
    scipys = scipy.stats.energy_distance(x[:, 0].double().numpy(), y[:, 0].double().numpy()) ** 2
    assert with_self == pytest.approx(scipys, rel=1e-9)


def test_energy_distance_is_unbiased() -> None:
    """Of N(0, 1) and N(2, 1): E|X - Y| is that of a folded normal; five standard errors."""
    estimates = torch.stack([energy_distance(normal(2 * i, 8, 1), normal(2 * i + 1, 5, 1, 2.0)) for i in range(600)])
    folded = 2 / math.sqrt(math.pi) * math.exp(-1.0) + 2.0 * math.erf(1.0)
    exact = 2 * folded - 2 * (2 / math.sqrt(math.pi))
    assert abs(float(estimates.mean()) - exact) < 5 * float(estimates.std()) / math.sqrt(600)


def test_closer_test_prefers_the_closer_samples() -> None:
    data = normal(0, 300)
    near, far = normal(1, 150, shift=0.1), normal(2, 200, shift=0.8)
    result = closer_test(near, far, data, Rng(0), 199)
    want = energy_distance(far, data) - energy_distance(near, data)
    assert result.statistic == pytest.approx(float(want), rel=1e-9) and result.statistic > 0
    assert result.p_value == 1 / 200
    assert closer_test(far, near, data, Rng(0), 199).p_value == 1.0


def test_closer_test_alarms_at_its_level_for_equally_good_samples() -> None:
    """400 trials; a correct test fails once in 10^5 seeds."""
    p = np.array(
        [
            closer_test(
                normal(i, 60, shift=0.3)[:15], normal(i, 60, shift=0.3)[15:35], normal(i, 60)[35:], Rng(i), 99
            ).p_value
            for i in range(400)
        ]
    )
    for alpha in (0.05, 0.2, 0.5):
        alarms = int((p <= alpha + 1e-9).sum())
        assert scipy.stats.binom.sf(alarms - 1, 400, alpha) > 1e-5
        assert scipy.stats.binom.cdf(alarms, 400, alpha) > 1e-5
