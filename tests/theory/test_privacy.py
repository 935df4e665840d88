"""The Gaussian mechanism against quadrature, accountants against each other and against closed forms."""

import math

import pytest
import torch
from scipy import integrate, stats

from morphogen.theory.privacy import (
    clip_factors,
    clipped,
    concentrated_epsilon,
    concentrated_rho,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_noise,
    subsampled_epsilon,
    subsampled_noise,
)


@pytest.mark.parametrize(("noise", "epsilon"), [(0.5, 2.0), (1.0, 0.5), (3.0, 1.0), (1.0, 0.0)])
def test_delta_is_the_hockey_stick_divergence_of_two_normals(noise: float, epsilon: float) -> None:
    def excess(x: float) -> float:
        return max(0.0, stats.norm.pdf(x, 1.0, noise) - math.exp(epsilon) * stats.norm.pdf(x, 0.0, noise))

    cut = 0.5 + epsilon * noise**2  # where the two densities are in the ratio e^epsilon
    wanted = integrate.quad(excess, cut, cut + 20 * noise, epsabs=1e-13)[0]
    assert gaussian_delta(epsilon, noise) == pytest.approx(wanted, abs=1e-10)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_planned_noise_keeps_the_promise_and_not_much_less_does(epsilon: float) -> None:
    noise = gaussian_noise(epsilon, 1e-5)
    assert gaussian_delta(epsilon, noise) <= 1e-5 < gaussian_delta(epsilon, 0.999 * noise)
    assert gaussian_epsilon(noise, 1e-5) == pytest.approx(epsilon, rel=1e-9)
    classic = math.sqrt(2.0 * math.log(1.25 / 1e-5)) / epsilon  # Dwork and Roth's sufficient noise, for epsilon <= 1
    assert epsilon > 1.0 or noise < classic


def test_pure_concentrated_privacy_is_weaker_than_what_a_gaussian_has() -> None:
    for noise in (0.7, 2.0, 10.0):
        assert gaussian_epsilon(noise, 1e-5) <= concentrated_epsilon(0.5 / noise**2, 1e-5)
    rho = concentrated_rho(1.0, 1e-5)
    assert concentrated_epsilon(rho, 1e-5) == pytest.approx(1.0, rel=1e-6)
    assert concentrated_epsilon(rho, 1e-5) < rho + 2.0 * math.sqrt(rho * math.log(1e5))  # Bun and Steinke's bound


def test_without_sampling_many_rounds_are_one_of_less_noise() -> None:
    assert subsampled_epsilon(4.0, 1.0, 16, 1e-5) == pytest.approx(gaussian_epsilon(1.0, 1e-5), rel=1e-12)
    assert subsampled_noise(1.0, 1e-5, 1.0, 9) == pytest.approx(3.0 * gaussian_noise(1.0, 1e-5), rel=1e-12)
    assert subsampled_epsilon(1.0, 0.1, 0, 1e-5) == 0.0


def test_the_accountant_agrees_with_the_closed_form_and_sampling_amplifies() -> None:
    pytest.importorskip("dp_accounting")
    nearly_all = subsampled_epsilon(4.0, 1.0 - 1e-9, 16, 1e-5)
    assert nearly_all == pytest.approx(gaussian_epsilon(1.0, 1e-5), rel=5e-3)
    assert nearly_all >= gaussian_epsilon(1.0, 1e-5) - 1e-6  # it overstates, and never understates
    few = subsampled_epsilon(1.0, 0.01, 100, 1e-5)
    assert 0.0 < few < subsampled_epsilon(1.0, 0.02, 100, 1e-5) < gaussian_epsilon(0.1, 1e-5)


def test_planned_noise_of_random_batches_is_enough_and_tight() -> None:
    pytest.importorskip("dp_accounting")
    noise = subsampled_noise(2.0, 1e-5, 0.05, 50)
    assert subsampled_epsilon(noise, 0.05, 50, 1e-5) <= 2.0 < subsampled_epsilon(0.98 * noise, 0.05, 50, 1e-5)


def test_two_accountants_agree_in_order() -> None:
    dp = pytest.importorskip("dp_accounting")
    step = dp.SelfComposedDpEvent(dp.PoissonSampledDpEvent(0.05, dp.GaussianDpEvent(2.8)), 200)
    renyi = dp.rdp.RdpAccountant().compose(step).get_epsilon(1e-5)
    assert 0.8 * renyi < subsampled_epsilon(2.8, 0.05, 200, 1e-5) < renyi


@pytest.mark.parametrize(
    ("noise", "rate", "rounds", "delta", "theirs"),
    [
        (1.0, 0.01, 1000, 1e-5, 1.829369),
        (2.0, 0.05, 500, 1e-5, 2.533186),
        (0.7, 0.004, 2500, 1e-6, 3.414188),
        (4.0, 0.2, 200, 1e-5, 3.071022),
    ],
)
def test_the_accountant_of_opacus_finds_the_same(
    noise: float, rate: float, rounds: int, delta: float, theirs: float
) -> None:
    """`PRVAccountant` of opacus 1.6.0 with eps_error=1e-3, which it adds, and delta_error=delta/1000."""
    pytest.importorskip("dp_accounting")
    assert theirs - 2e-3 < subsampled_epsilon(noise, rate, rounds, delta) <= theirs


def test_one_sampled_round_has_the_epsilon_that_quadrature_gives() -> None:
    pytest.importorskip("dp_accounting")
    noise, rate, epsilon = 0.8, 0.3, 1.0

    def excess(x: float) -> float:
        with_unit = (1 - rate) * stats.norm.pdf(x, 0, noise) + rate * stats.norm.pdf(x, 1, noise)
        return max(0.0, with_unit - math.exp(epsilon) * stats.norm.pdf(x, 0, noise))

    delta = integrate.quad(excess, -8, 12, points=[0.5, 1.5], epsabs=1e-12, limit=400)[0]
    assert subsampled_epsilon(noise, rate, 1, delta) == pytest.approx(epsilon, rel=5e-3)


def test_clipping_shortens_and_never_turns() -> None:
    v = torch.randn(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    short = clipped(v, 2.0)
    assert (short.norm(dim=1) <= 2.0 + 1e-12).all()
    assert torch.allclose(short / short.norm(dim=1, keepdim=True), v / v.norm(dim=1, keepdim=True))
    small = v / (10 * v.norm(dim=1, keepdim=True))
    assert torch.equal(clipped(small, 2.0), small)
    assert torch.equal(
        clip_factors(torch.tensor([float("nan"), float("inf"), 0.0]), 1.0), torch.tensor([0.0, 0.0, 1.0])
    )
    bad = torch.tensor([[float("nan"), 1.0], [3.0, 4.0]])
    assert torch.allclose(clipped(bad, 1.0), torch.tensor([[0.0, 0.0], [0.6, 0.8]]))


def test_a_release_before_the_rounds_adds_to_what_they_cost() -> None:
    together = subsampled_epsilon(4.0, 1.0, 10, 1e-5, before=2.0)
    assert together == pytest.approx(gaussian_epsilon((10 / 4.0**2 + 1 / 2.0**2) ** -0.5, 1e-5))
    assert subsampled_epsilon(4.0, 0.5, 0, 1e-5, before=2.0) == pytest.approx(gaussian_epsilon(2.0, 1e-5))
    pytest.importorskip("dp_accounting")
    alone, release = subsampled_epsilon(1.0, 0.01, 200, 1e-5), gaussian_epsilon(3.0, 1e-5)
    both = subsampled_epsilon(1.0, 0.01, 200, 1e-5, before=3.0)
    assert max(alone, release) < both < alone + release  # and basic composition only bounds it
    for rate in (0.02, 1.0):
        noise = subsampled_noise(1.0, 1e-5, rate, 50, before=8.0)
        assert 0.98 < subsampled_epsilon(noise, rate, 50, 1e-5, before=8.0) <= 1.0
        assert noise > subsampled_noise(1.0, 1e-5, rate, 50)
