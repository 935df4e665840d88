"""`Gaussian` and `GaussianMixture` against torch, quadrature and enumeration, in float64."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from torch import Tensor

from morphogen.core.distributions import Gaussian, GaussianMixture, standard_normal


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(*shape: int, seed: int = 0) -> Gaussian:
    return Gaussian(random(*shape, seed=seed), random(*shape, seed=seed + 1))


def reference(p: Gaussian) -> torch.distributions.Independent:
    return torch.distributions.Independent(torch.distributions.Normal(p.mean, p.stddev), p.event_dims)


def test_log_prob_entropy_and_kl_equal_torch() -> None:
    p, q, x = gaussian(4, 2, 3), gaussian(4, 2, 3, seed=5), random(4, 2, 3, seed=9)
    torch.testing.assert_close(p.log_prob(x), reference(p).log_prob(x), rtol=1e-13, atol=0)
    torch.testing.assert_close(p.entropy(), reference(p).entropy(), rtol=1e-13, atol=0)
    want = torch.distributions.kl_divergence(reference(p), reference(q))
    torch.testing.assert_close(p.kl(q), want, rtol=1e-13, atol=0)
    torch.testing.assert_close(p.var, p.stddev.square(), rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("mean", "log_var", "other_mean", "other_log_var"), [(0.3, -1.0, -0.5, 0.7), (2.0, 1.5, 0.0, 0.0)]
)
def test_entropy_and_kl_equal_quadrature(mean: float, log_var: float, other_mean: float, other_log_var: float) -> None:
    p, q = (
        Gaussian(torch.tensor([[m]], dtype=torch.float64), torch.tensor([[v]], dtype=torch.float64))
        for m, v in ((mean, log_var), (other_mean, other_log_var))
    )
    x = torch.linspace(-40, 40, 40_001, dtype=torch.float64)[:, None]
    log_p, log_q = p.log_prob(x), q.log_prob(x)
    assert float(torch.trapezoid(log_p.exp(), x[:, 0])) == pytest.approx(1.0, abs=1e-10)
    assert float(p.entropy()) == pytest.approx(float(torch.trapezoid(-log_p.exp() * log_p, x[:, 0])), abs=1e-10)
    assert float(p.kl(q)) == pytest.approx(float(torch.trapezoid(log_p.exp() * (log_p - log_q), x[:, 0])), abs=1e-10)


def test_kl_is_never_negative_and_zero_only_for_equals() -> None:
    p, q = gaussian(200, 3), gaussian(200, 3, seed=7)
    assert (p.kl(q) > 0).all()
    assert (p.kl(p) == 0).all()
    nearly = Gaussian(p.mean + 1e-5, p.log_var - 1e-5)
    assert (p.kl(nearly) > 0).all() and (p.kl(nearly) < 1e-6).all()


def test_shapes_broadcast_over_leading_sample_dimensions() -> None:
    p, x = gaussian(4, 3), random(6, 4, 3, seed=3)
    got = p.log_prob(x)
    assert got.shape == (6, 4)
    torch.testing.assert_close(got[2], p.log_prob(x[2]))
    assert p.rsample(random(6, 4, 3)).shape == (6, 4, 3)
    fixed = Gaussian(p.mean, torch.zeros((), dtype=torch.float64))  # one log-variance for all elements
    assert fixed.noise_shape == (4, 3) and fixed.entropy().shape == (4,) and fixed.log_prob(x).shape == (6, 4)
    torch.testing.assert_close(fixed.entropy(), torch.full((4,), 1.5 * math.log(2 * math.pi * math.e)).double())
    assert p.kl(standard_normal((3,), x)).shape == (4,)
    elementwise = Gaussian(p.mean, p.log_var, event_dims=0)
    torch.testing.assert_close(elementwise.log_prob(x).sum(-1), got)


def test_samples_have_the_moments_and_carry_the_gradient() -> None:
    """Mean and variance to five standard errors."""
    n, p = 100_000, gaussian(2, 3)
    x = p.rsample(random(n, 2, 3, seed=4))
    assert ((x.mean(0) - p.mean).abs() < 5 * p.stddev / math.sqrt(n)).all()
    assert ((x.var(0) - p.var).abs() < 5 * p.var * math.sqrt(2 / n)).all()
    mean, log_var, eps = p.mean.requires_grad_(), p.log_var.requires_grad_(), random(2, 3, seed=8)
    gradients = torch.autograd.grad(Gaussian(mean, log_var).rsample(eps).sum(), (mean, log_var))
    torch.testing.assert_close(gradients, (torch.ones(2, 3).double(), 0.5 * p.stddev * eps))
    assert torch.equal(p.sample(eps), p.rsample(eps)) and p.noise == "normal" and p.measure == "density"


def test_detach_stops_gradients_and_keeps_the_distribution() -> None:
    p = Gaussian(random(2, 3).requires_grad_(), random(2, 3, seed=1).requires_grad_(), event_dims=2)
    q = p.detach()
    assert q.log_prob(random(2, 3)).requires_grad is False and q.event_dims == 2
    assert torch.equal(q.mean, p.mean) and torch.equal(q.log_var, p.log_var)


def test_standard_normal_equals_scipy() -> None:
    x = random(5, 3)
    want = torch.from_numpy(scipy.stats.norm.logpdf(x.numpy())).sum(1)
    torch.testing.assert_close(standard_normal((3,), x).log_prob(x), want, rtol=1e-13, atol=0)


def mixture(sd: float, d: int = 8, m: int = 50) -> tuple[GaussianMixture, torch.distributions.Distribution, Tensor]:
    logits, mean, log_var = random(m), 2 * random(m, d, seed=1), 2 * math.log(sd) + 0.3 * random(m, d, seed=2)
    independent = torch.distributions.Independent(torch.distributions.Normal(mean, (0.5 * log_var).exp()), 1)
    want = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=logits), independent)
    near = mean[torch.arange(400) % m] + sd * random(400, d, seed=3)
    return GaussianMixture(logits, mean, log_var), want, torch.cat((near, 3 * random(100, d, seed=4)))


@pytest.mark.parametrize("sd", (0.05, 0.3, 1.0))
def test_mixture_log_prob_equals_torch(sd: float) -> None:
    p, want, x = mixture(sd)
    # Expanded squared distances in float32: the error is an ulp or two of the parts of the nearest component's.
    parts = (x[:, None].abs() + p.means.abs()).square() / p.log_var.exp()
    nearest = want.component_distribution.log_prob(x[:, None]).argmax(1)  # type: ignore[attr-defined]
    bound = 1e-5 + 2 * torch.finfo(torch.float32).eps * parts.sum(-1).gather(1, nearest[:, None])[:, 0]
    assert ((p.log_prob(x) - want.log_prob(x)).abs() < bound).all()
    assert p.log_prob(x.reshape(5, 100, -1)).shape == (5, 100)


def test_mixture_samples_come_from_the_components() -> None:
    """The shares of three far components, by chi-square; false alarms: 1 in 10^6."""
    log_weights = torch.tensor([0.5, 0.3, 0.2]).log()
    p = GaussianMixture(log_weights, torch.tensor([[-30.0], [0.0], [30.0]]), torch.tensor([[0.0], [-2.0], [1.0]]))
    n = 30_000
    g = torch.Generator().manual_seed(0)
    x = p.sample(torch.rand(n, generator=g), torch.randn(n, 1, generator=g))[:, 0]
    component = (x / 30).round() + 1
    counts = torch.bincount(component.long(), minlength=3)
    assert scipy.stats.chisquare(counts.numpy(), [0.5 * n, 0.3 * n, 0.2 * n]).pvalue > 1e-6
    for k, sd in enumerate((1.0, math.exp(-1), math.exp(0.5))):
        part = x[component == k]
        assert float(part.std()) == pytest.approx(sd, rel=5 / math.sqrt(2 * len(part)))
