"""Restoring and editing Gaussian pictures, whose posterior is known in closed form.

Moments of n draws are compared with the truth within 5 standard errors for each of at most 32 numbers (false alarm
below 1e-4 a test) plus 0.02 for the finite number of steps.
"""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from morphogen.applications.editing import edited
from morphogen.applications.restoration import Restoration, by_condition, by_measurement, of_means
from morphogen.core.batch import RawCondition
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.data.context import Degradation
from morphogen.sampling.editing import noised
from morphogen.sampling.grids import angle
from morphogen.sampling.steppers import Ancestral, Heun, Multistep, Stepper, stepper
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import Schedule, schedule

SHAPE, D, N, STEPS = (1, 4, 4), 16, 1000, 40
COSINE = schedule("cosine")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


_place = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()
MEAN = 0.3 * random(D, seed=1)
COV = 0.2 * torch.exp(-0.5 * torch.cdist(_place, _place).square() / 2.0) + 0.05 * torch.eye(D).double()
PICTURES = GaussianMixtureDenoiser.gaussian(COSINE, MEAN.reshape(SHAPE), COV)
TRUTH = (MEAN + torch.linalg.cholesky(COV) @ random(D, seed=2)).reshape(SHAPE)


def given(a: Tensor, y: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of x given y = A x + noise n."""
    gain = COV @ a.T @ torch.linalg.pinv(a @ COV @ a.T + noise**2 * torch.eye(len(a)).double())
    return MEAN + gain @ (y - a @ MEAN), COV - gain @ a @ COV


def require_moments(samples: Tensor, mean: Tensor, cov: Tensor) -> None:
    found, stddev = Restoration(samples), cov.diagonal().clamp_min(0.0).sqrt()
    error = 5.0 * stddev / math.sqrt(len(samples))
    assert ((found.mean.flatten() - mean).abs() <= error + 0.02).all()
    assert ((found.stddev.flatten() - stddev).abs() <= error / math.sqrt(2.0) + 0.02).all()


@pytest.mark.parametrize("text", ["down2", "blur1", "noise0.3"])
@pytest.mark.parametrize("method", [Multistep(2, True, variable="angle"), stepper("ddpm")])
def test_draws_given_a_measurement_have_the_moments_of_the_posterior(text: str, method: Stepper) -> None:
    degradation = Degradation.parse(text)
    a = degradation.linear(torch.eye(D).double().reshape(D, *SHAPE)).flatten(1).T
    y = degradation.linear(TRUTH[None])[0]
    steps = STEPS if not method.stochastic else 4 * STEPS  # of order 1
    samples = by_measurement(
        PICTURES, method, angle(COSINE, steps), SHAPE, N if steps == STEPS else N // 4, Rng(0), y, degradation, 256
    )
    noise = math.hypot(degradation.noise_std, 2.0 / 255.0 / math.sqrt(12.0))
    require_moments(samples, *given(a, y.flatten(), noise))


class Knowing:
    """The exact denoiser of pictures given the mean of their left half, which is the context."""

    schedule: Schedule = COSINE

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        assert cond is not None and cond.context is not None and len(cond.context) == len(x_t)
        mean, cov = given(LEFT, cond.context[0].flatten(), 0.1)
        return GaussianMixtureDenoiser.gaussian(COSINE, mean.reshape(SHAPE), cov).posterior(x_t, t)


LEFT = (torch.arange(D) % 4 < 2).double()[None] / 8.0


def test_draws_given_a_context_have_the_moments_of_the_posterior() -> None:
    y = torch.tensor([[[0.7]]]).double()
    cond = RawCondition(context=y.expand(N, 1, 1, 1))
    method = Multistep(2, True, variable="angle")
    samples = by_condition(
        Knowing(), method, angle(COSINE, STEPS), SHAPE, N, Rng(0), cond, Degradation.parse("noise0.1"), torch.float64
    )
    require_moments(samples, *given(LEFT, y.flatten(), 0.1))


@pytest.mark.parametrize(("text", "shape"), [("down2", (1, 4, 4)), ("gray", (3, 4, 4))])
def test_draws_of_an_inaccurate_model_are_consistent_with_their_copies(text: str, shape: tuple[int, ...]) -> None:
    """And are moved no further than that takes: along the range of A^T."""

    class Wrong:
        schedule: Schedule = COSINE

        def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
            return Gaussian(guess.expand_as(x_t), torch.zeros_like(x_t), 3)

    degradation, guess = Degradation.parse(text), random(1, *shape, seed=4)
    y = degradation.linear(random(2, *shape, seed=5))
    cond, times = RawCondition(context=y), angle(COSINE, 4)
    made = by_condition(Wrong(), Heun(), times, shape, 2, Rng(0), cond, degradation, torch.float64)
    torch.testing.assert_close(degradation.linear(made), y)
    moved = made - guess
    again = degradation.nearest(torch.zeros_like(moved), degradation.linear(moved))  # projection onto the range of A^T
    torch.testing.assert_close(moved, again)
    with pytest.raises(UsageError, match="without a degraded copy"):
        by_condition(Wrong(), Heun(), times, shape, 2, Rng(0), RawCondition(), degradation)


def covering(draws: Tensor, truth: Tensor) -> float:
    found = Restoration(draws)
    varies = found.stddev > 1.0 / 127.5
    return float(((truth - found.mean).abs() <= found.half_width())[varies].double().mean())


@pytest.mark.parametrize("k", [8, 16])
def test_half_widths_are_calibrated_for_draws_that_are_not_normal(k: int) -> None:
    """One more draw of 40,000 elements is covered in 95 % of those that vary; 0.6 % is four deviations and rounding.

    Two shades in unlike proportions, cut at black and white; skewed; normal, where nothing is to be corrected.
    """
    u = torch.rand(k + 1, 1, 200, 200, generator=torch.Generator().manual_seed(0)).double()
    z = random(k + 1, 1, 200, 200)
    share = torch.rand(1, 200, 200, generator=torch.Generator().manual_seed(1)).double()
    for draws in ((torch.where(u < share, 0.6, -0.6) + 0.3 * z).clamp(-1.0, 1.0), -u.log(), z):
        assert covering(draws[:k], draws[k]) == pytest.approx(0.95, abs=0.006)
    plain = Restoration(z[:k])
    student = scipy.stats.t.ppf(0.975, k - 1) * math.sqrt(1 + 1 / k) * plain.stddev
    torch.testing.assert_close(plain.half_width(), student, rtol=0.02, atol=0)
    assert float(Restoration(torch.ones(k, 1, 20, 20)).half_width().max()) == 0.0


def test_a_draw_does_not_depend_on_its_batch() -> None:
    degradation, times = Degradation.parse("down2"), angle(COSINE, 5)
    y = degradation.linear(TRUTH[None])[0]

    def draw(n: int, rng: Rng) -> Tensor:
        return by_measurement(PICTURES, stepper("ddpm"), times, SHAPE, n, rng, y, degradation, 256)

    whole, x_0 = draw(6, Rng(3)), TRUTH.expand(6, *SHAPE)
    torch.testing.assert_close(torch.cat((draw(4, Rng(3)), draw(2, Rng(3).shifted(4)))), whole)
    times = angle(COSINE, 5, 0.5)
    some = edited(PICTURES, stepper("ddpm"), times, x_0[:2], Rng(3).shifted(4))
    torch.testing.assert_close(some, edited(PICTURES, stepper("ddpm"), times, x_0, Rng(3))[4:])


def test_the_uncertainty_is_the_unbiased_deviation() -> None:
    samples = torch.tensor([[[[0.0]], [[1.0]]], [[[2.0]], [[5.0]]]])  # two samples of two channels of one pixel
    found = Restoration(samples)
    assert found.mean.flatten().tolist() == [1.0, 3.0]
    torch.testing.assert_close(found.stddev.flatten(), torch.tensor([2.0, 8.0]).sqrt())
    torch.testing.assert_close(found.uncertainty, torch.tensor([[5.0]]).sqrt())
    with pytest.raises(UsageError, match="at least 2 samples"):
        Restoration(samples[:1])


@pytest.mark.parametrize("k", [8, 32])
def test_the_half_width_covers_one_more_draw_as_often_as_it_says(k: int) -> None:
    draws = random(k + 1, 1, 200, 200, seed=k)
    found = Restoration(draws[:k])
    covered = ((draws[k] - found.mean).abs() <= found.half_width()).double().mean()
    # 40,000 independent pixels: 5 standard errors are 0.0055 (false alarm below 1e-6)
    assert abs(float(covered) - 0.95) < 0.006


def test_an_edit_follows_the_flow_from_where_it_starts() -> None:
    x_0, start = TRUTH.expand(5, *SHAPE), 0.6
    found = edited(PICTURES, Heun(), angle(COSINE, 200, start), x_0, Rng(1))
    x_t = noised(x_0, start, COSINE, Rng(1), 5)
    exact = PICTURES.flow(x_t, torch.tensor(start).double(), torch.tensor(0.0).double())
    torch.testing.assert_close(found, exact, rtol=0, atol=2e-3)
    faint = edited(PICTURES, Heun(), angle(COSINE, 50, 0.02), x_0, Rng(1))
    assert float((faint - x_0).abs().max()) < 0.2 < float((found - x_0).abs().max())


@pytest.mark.parametrize("method", [Multistep(2, True, variable="angle"), stepper("ddpm")])
def test_what_is_redrawn_follows_from_what_is_kept(method: Stepper) -> None:
    redrawn = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    redrawn[..., 1:3] = True
    n, steps = (N, STEPS) if not method.stochastic else (N // 4, 4 * STEPS)
    samples = edited(PICTURES, method, angle(COSINE, steps), TRUTH.expand(n, *SHAPE), Rng(0), redrawn=redrawn)
    kept = ~redrawn.flatten()
    assert torch.equal(samples.flatten(1)[:, kept], TRUTH.flatten()[kept].expand(n, -1))
    require_moments(samples, *given(torch.eye(D).double()[kept], TRUTH.flatten()[kept], 0.0))
    with pytest.raises(UsageError, match="the mask is black"):
        edited(PICTURES, method, angle(COSINE, 3), TRUTH[None], Rng(0), redrawn=torch.zeros_like(redrawn))


def test_only_the_learned_variance_is_given_up() -> None:
    assert of_means(stepper("ddpm")) == Ancestral("beta_tilde")
    assert of_means(Ancestral("beta")) == Ancestral("beta")
    assert of_means(Heun()) == Heun()
