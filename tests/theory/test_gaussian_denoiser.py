"""The exact denoiser against quadrature, Tweedie's formula and the flow's differential equation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises
from morphogen.core.errors import UsageError
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import SCHEDULES, schedule

WEIGHTS = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
MEANS = torch.tensor([[-1.0, 0.5], [0.8, 0.0], [0.0, -0.7]], dtype=torch.float64)
COVS = torch.tensor([[[0.3, 0.1], [0.1, 0.2]], [[0.1, -0.05], [-0.05, 0.4]], [[0.2, 0.0], [0.0, 0.2]]]).double()
LABELS = torch.tensor([0, 1, 1])


def mixture(name: str = "cosine") -> GaussianMixtureDenoiser:
    return GaussianMixtureDenoiser(schedule(name), WEIGHTS, MEANS, COVS, LABELS)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("label", [None, -1, 0, 1])
def test_the_posterior_is_bayes_by_quadrature(name: str, label: int | None) -> None:
    oracle, t, x_t = mixture(name), number(0.3), torch.tensor([[0.4, -0.2]]).double()
    cond = None if label is None else RawCondition(label=torch.tensor([label]))
    line = torch.linspace(-4, 4, 401).double()
    x_0 = torch.cartesian_prod(line, line)
    kept = torch.ones(3).bool() if label in (None, -1) else label == LABELS
    components = [torch.distributions.MultivariateNormal(m, c) for m, c in zip(MEANS, COVS, strict=True)]
    density = torch.stack(
        [w * d.log_prob(x_0).exp() for w, d, k in zip(WEIGHTS, components, kept, strict=True) if k]
    ).sum(0)
    alpha, sigma = oracle.schedule(t)
    joint = density * torch.exp(-0.5 * ((x_t - alpha * x_0) / sigma).square().sum(1))
    joint = joint / joint.sum()
    mean = joint @ x_0
    found = oracle.posterior(x_t, t, cond)
    torch.testing.assert_close(found.mean[0], mean, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found.var[0], joint @ (x_0 - mean).square(), rtol=1e-6, atol=0)


def test_tweedie_holds_for_the_density_of_each_time() -> None:
    """E[x_0 | x_t] = (x_t + sigma^2 grad log p(x_t)) / alpha, with a time of its own for each record."""
    oracle, t = mixture(), torch.tensor([0.1, 0.5, 0.9]).double()
    x_t = torch.tensor([[0.1, -0.3], [1.0, 0.4], [-2.0, 0.3]]).double().requires_grad_()
    for cond in (None, RawCondition(label=torch.tensor([0, 1, 1]))):
        (score,) = torch.autograd.grad(oracle.log_prob(x_t, t, cond).sum(), x_t)
        alpha, sigma = (c[:, None] for c in oracle.schedule(t))
        torch.testing.assert_close(oracle.posterior(x_t, t, cond).mean, (x_t + sigma**2 * score) / alpha)


def test_samples_and_densities_have_the_stated_moments() -> None:
    oracle, t = mixture("linear-beta"), number(0.4)
    line = torch.linspace(-8, 8, 401, dtype=torch.float64)
    x_t = torch.cartesian_prod(line, line)
    density = oracle.log_prob(x_t, t).exp() * (line[1] - line[0]) ** 2
    mean, cov = oracle.moments(t)
    assert float(density.sum()) == pytest.approx(1.0, abs=1e-9)
    torch.testing.assert_close(density @ x_t, mean, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close((density[:, None] * (x_t - mean)).T @ (x_t - mean), cov, rtol=1e-8, atol=1e-9)
    engine = torch.quasirandom.SobolEngine(3, scramble=True, seed=1)
    u = engine.draw(1 << 14, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
    drawn = oracle.sample(u[:, 0].contiguous(), torch.special.ndtri(u[:, 1:]), t)
    torch.testing.assert_close(drawn.mean(0), mean, rtol=0, atol=3e-3)
    torch.testing.assert_close(drawn.T.cov(), cov, rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_closed_form_flow_solves_its_differential_equation(name: str) -> None:
    oracle = GaussianMixtureDenoiser.gaussian(schedule(name), MEANS[0], COVS[0])
    x, t, h = torch.tensor([[1.0, -0.4]]).double(), number(0.5), 1e-5
    difference = (oracle.flow(x, t, t + h) - oracle.flow(x, t, t - h)) / (2 * h)
    (alpha, sigma), (d_alpha, d_sigma) = oracle.schedule(t), oracle.schedule.derivatives(t)
    mean = oracle.posterior(x, t).mean
    velocity = d_alpha * mean + d_sigma * (x - alpha * mean) / sigma
    torch.testing.assert_close(velocity, difference, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(oracle.flow(oracle.flow(x, t, number(1.0)), number(1.0), t), x)


def test_the_ends_of_time_are_the_data_and_the_prior() -> None:
    oracle, x = mixture(), torch.tensor([[0.3, 0.1]]).double()
    clean, blind = oracle.posterior(x, number(0.0)), oracle.posterior(x, number(1.0))
    torch.testing.assert_close(clean.mean, x)
    assert clean.var.max() < 1e-15
    torch.testing.assert_close(blind.mean[0], oracle.moments(number(0.0))[0])
    torch.testing.assert_close(blind.var[0], oracle.moments(number(0.0))[1].diagonal())


def test_it_keeps_shapes_and_says_what_it_cannot_do() -> None:
    pictures = GaussianMixtureDenoiser.gaussian(schedule("edm"), torch.zeros(1, 2, 3).double(), torch.eye(6).double())
    posterior = pictures.posterior(torch.ones(5, 1, 2, 3).double(), torch.full((5,), 0.1).double())
    assert posterior.mean.shape == posterior.log_var.shape == (5, 1, 2, 3)
    assert isinstance(pictures, Denoises)
    with pytest.raises(UsageError, match="mixture without classes"):
        pictures.posterior(torch.ones(1, 1, 2, 3).double(), number(0.1), RawCondition(label=torch.tensor([0])))
    with pytest.raises(UsageError, match="closed-form for one Gaussian"):
        mixture().flow(MEANS, number(0.5), number(0.1))
    with pytest.raises(UsageError, match="positive definite"):
        GaussianMixtureDenoiser(schedule("edm"), WEIGHTS, MEANS, -COVS)
