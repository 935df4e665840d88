"""Loss weightings as identities between losses, and the laws of training times."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.rng import Rng
from morphogen.theory.diffusion import q_posterior, reverse_kernel
from morphogen.theory.parametrizations import PARAMETRIZATIONS, output_of
from morphogen.theory.schedules import broadcast, schedule
from morphogen.theory.weightings import times, uniforms, weight

T = torch.tensor([0.05, 0.3, 0.6, 0.95], dtype=torch.float64)
S = 0.9 * T


def records(seed: int) -> Tensor:
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X_0, EPS, GUESS = records(0), records(1), records(2)


def outputs(parametrization: str, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """The output for the truth and for the guess of x_0, at one x_t."""
    s = schedule(name)
    alpha, sigma = (broadcast(c, X_0) for c in s(T))
    x_t = alpha * X_0 + sigma * EPS
    guess_eps = (x_t - alpha * GUESS) / sigma
    return output_of(parametrization, X_0, EPS, T, s), output_of(parametrization, GUESS, guess_eps, T, s), x_t


def squared(difference: Tensor) -> Tensor:
    return difference.square().sum(-1)


@pytest.mark.parametrize("name", ["linear-beta", "cosine", "rectified-flow", "edm"])
@pytest.mark.parametrize("trained", PARAMETRIZATIONS)
@pytest.mark.parametrize("meant", PARAMETRIZATIONS)
def test_an_output_trained_with_the_weight_of_another_has_its_loss(name: str, trained: str, meant: str) -> None:
    (y, guess, _), (other, other_guess, _) = outputs(trained, name), outputs(meant, name)
    weighted = weight(meant, trained, T, schedule(name)) * squared(y - guess)
    torch.testing.assert_close(weighted, squared(other - other_guess), rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", ["linear-beta", "cosine", "rectified-flow", "edm"])
@pytest.mark.parametrize("trained", PARAMETRIZATIONS)
def test_the_distance_of_posterior_means_and_the_bound_are_weightings(name: str, trained: str) -> None:
    s = schedule(name)
    y, guess, x_t = outputs(trained, name)
    truth, reverse = (q_posterior(x_t, x, T, S, s) for x in (X_0, GUESS))
    loss = squared(y - guess)
    means = weight("posterior-mean", trained, T, s, s=S) * loss
    torch.testing.assert_close(means, squared(truth.mean - reverse.mean), rtol=1e-7, atol=0)
    certain = Gaussian(GUESS, torch.full_like(GUESS, -math.inf))
    kl = truth.kl(reverse_kernel(certain, x_t, T, S, s, "beta_tilde"))
    torch.testing.assert_close(weight("bound", trained, T, s, s=S) * loss, kl, rtol=1e-6, atol=0)
    snr = lambda t: s.log_snr(t).exp()  # noqa: E731
    torch.testing.assert_close(weight("bound", "x0", T, s, s=S), 0.5 * (snr(S) - snr(T)), rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", ["linear-beta", "edm"])
def test_min_snr_and_edm_are_what_their_papers_say(name: str) -> None:
    s = schedule(name)
    snr = s.log_snr(T).exp()
    torch.testing.assert_close(weight("min-snr", "x0", T, s, gamma=5.0), snr.clamp_max(5.0))
    torch.testing.assert_close(weight("min-snr", "eps", T, s, gamma=5.0), snr.clamp_max(5.0) / snr)
    ratio = snr.rsqrt()
    edm = (ratio.square() + 0.25) / (ratio * 0.5).square()
    torch.testing.assert_close(weight("edm", "x0", T, s, sigma_data=0.5), edm)


def test_plain_losses_and_velocities_have_finite_weights_at_the_ends() -> None:
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for name in PARAMETRIZATIONS:
        assert weight(name, name, ends, schedule("cosine")).tolist() == [1.0, 1.0]
    for name in ("eps", "x0", "min-snr", "edm"):
        assert torch.isfinite(weight(name, "v", ends, schedule("cosine"))).all()


def test_errors_name_what_is_missing() -> None:
    with pytest.raises(SpecError, match="did you mean 'min-snr'"):
        weight("minsnr", "eps", T, schedule("cosine"))
    with pytest.raises(UsageError, match="belongs to a stride"):
        weight("bound", "eps", T, schedule("cosine"))
    with pytest.raises(SpecError, match="unknown law of times"):
        times("normal", T, schedule("cosine"))


def test_stratified_times_cover_evenly_and_depend_on_their_address_alone() -> None:
    rng = Rng(3)
    for start in (0, 12_345_678):
        u = uniforms(rng, torch.arange(start, start + 256)).sort().values
        gaps = torch.cat((u, u[:1] + 1)).diff()
        assert (
            gaps.max() < 3.0 / 256 and gaps.min() > 0.3 / 256
        )  # three-distance theorem; a random draw has gaps near 0
    whole = uniforms(rng, 64)
    assert torch.equal(uniforms(rng, torch.arange(10, 20)), whole[10:20])
    assert torch.equal(uniforms(rng.shifted(10), 5), whole[10:15])
    assert torch.equal(uniforms(rng, 64, stratified=False)[7:9], uniforms(rng, torch.tensor([7, 8]), stratified=False))


def test_stratified_times_are_uniform_over_seeds() -> None:
    """Kolmogorov-Smirnov at one address over 1000 seeds; false alarms at 1e-6."""
    u = torch.cat([uniforms(Rng(seed), torch.tensor([77])) for seed in range(1000)]).sort().values
    steps = torch.arange(1, 1001).double() / 1000
    distance = float(torch.maximum(steps - u, u - steps + 1 / 1000).max())
    assert distance < math.sqrt(-0.5 * math.log(0.5e-6) / 1000)


@pytest.mark.parametrize("name", ["edm", "rectified-flow", "linear-beta"])
def test_log_normal_times_have_normal_log_noise(name: str) -> None:
    s, u = schedule(name), (torch.arange(2000).double() + 0.5) / 2000
    log_ratio = -0.5 * s.log_snr(times("log-normal", u, s, mean=-0.8, std=1.1))
    torch.testing.assert_close(log_ratio, -0.8 + 1.1 * torch.special.ndtri(u), rtol=1e-9, atol=1e-9)
    assert torch.equal(times("uniform", u, s), u)
