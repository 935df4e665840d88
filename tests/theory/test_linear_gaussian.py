"""The linear-Gaussian oracle, checked against quadrature and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.decomposition import PCA

from morphogen.core.errors import UsageError
from morphogen.theory.linear_gaussian import LinearGaussian
from tests.oracles.divergences import gaussian_kl

WEIGHT = torch.tensor([[1.0, 0.3], [0.5, -0.6], [-0.4, 0.8]]).double()
MODEL = LinearGaussian(WEIGHT, torch.tensor([0.2, -0.1, 0.4]).double(), 0.3)
X = torch.tensor([[0.7, -0.3, 0.1], [0.0, 2.0, -1.0]]).double()


def test_log_prob_and_posterior_equal_quadrature_over_z() -> None:
    """p(x) = int p(x | z) p(z) dz, and the posterior's moments, on a grid that spans ten deviations."""
    axis = torch.linspace(-10, 10, 801, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    cell = float(axis[1] - axis[0]) ** 2
    prior = -math.log(2 * math.pi) - 0.5 * z.square().sum(1)
    means, cov = MODEL.posterior(X)
    for x, mean, exact in zip(X, means, MODEL.log_prob(X), strict=True):
        joint = (MODEL.likelihood(z).log_prob(x) + prior).exp() * cell
        assert float(joint.sum().log()) == pytest.approx(float(exact), abs=1e-10)
        posterior = joint / joint.sum()
        torch.testing.assert_close(posterior @ z, mean, rtol=0, atol=1e-10)
        centered = z - mean
        torch.testing.assert_close(centered.T @ (posterior[:, None] * centered), cov, rtol=0, atol=1e-10)


def test_log_prob_equals_scipy() -> None:
    want = scipy.stats.multivariate_normal(MODEL.offset.numpy(), MODEL.covariance.numpy()).logpdf(X.numpy())
    np.testing.assert_allclose(MODEL.log_prob(X), want, rtol=1e-12)


def test_elbo_at_the_optimum_is_the_exact_log_likelihood() -> None:
    mean, cov = MODEL.posterior(X)
    torch.testing.assert_close(MODEL.elbo(X, mean, cov), MODEL.log_prob(X), rtol=0, atol=1e-12)


def test_elbo_falls_short_by_exactly_the_kl_to_the_posterior() -> None:
    mean, cov = MODEL.posterior(X)
    for shift, scale in ((0.3, 1.0), (0.0, 2.0), (-1.0, 0.1)):
        q_mean, q_cov = mean + shift, scale * cov + 0.01 * torch.eye(2).double()
        gap = MODEL.log_prob(X) - MODEL.elbo(X, q_mean, q_cov)
        want = torch.stack([gaussian_kl(qm, q_cov, pm, cov) for qm, pm in zip(q_mean, mean, strict=True)])
        torch.testing.assert_close(gap, want, rtol=1e-10, atol=1e-12)
        batched = MODEL.elbo(X, q_mean, q_cov.expand(2, 2, 2))
        torch.testing.assert_close(MODEL.log_prob(X) - batched, want, rtol=1e-10, atol=1e-12)


def data(n: int = 500) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    return MODEL.sample(torch.randn(n, 2, generator=g).double(), torch.randn(n, 3, generator=g).double())


@pytest.mark.parametrize("latents", (1, 2))
def test_fit_equals_scikit_learn(latents: int) -> None:
    x = data()
    fitted = LinearGaussian.fit(x, latents)
    pca = PCA(latents).fit(x.numpy())  # its covariance divides by n - 1, ours by n
    want = pca.get_covariance() * (len(x) - 1) / len(x)
    np.testing.assert_allclose(fitted.covariance, want, rtol=1e-10)
    gram = fitted.weight.T @ fitted.weight
    assert (gram - gram.diagonal().diag()).abs().max() < 1e-12


def test_fit_is_the_maximum_of_the_likelihood() -> None:
    """No small change of any parameter helps: the gradient vanishes, and random moves lower the likelihood."""
    x = data()
    best = LinearGaussian.fit(x, 1)
    weight, offset = best.weight.requires_grad_(), best.offset.requires_grad_()
    top = LinearGaussian(weight, offset, best.var).log_prob(x).mean()
    for gradient in torch.autograd.grad(top, (weight, offset)):
        assert gradient.abs().max() < 1e-10
    g = torch.Generator().manual_seed(1)
    for _ in range(20):
        moved = LinearGaussian(
            best.weight.detach() + 0.01 * torch.randn(3, 1, generator=g).double(),
            best.offset.detach() + 0.01 * torch.randn(3, generator=g).double(),
            best.var * math.exp(0.01 * float(torch.randn(1, generator=g))),
        )
        assert moved.log_prob(x).mean() < top


def test_samples_have_the_models_moments() -> None:
    """Five standard errors on each of the nine moments: fails once in about 10^5 seeds for a correct sampler."""
    x = data(50_000)
    cov = MODEL.covariance
    assert ((x.mean(0) - MODEL.offset).abs() < 5 * (cov.diagonal() / len(x)).sqrt()).all()
    error = ((cov.square() + cov.diagonal()[:, None] * cov.diagonal()) / len(x)).sqrt()
    assert ((x.T.cov() - cov).abs() < 5 * error).all()


def test_impossible_fits_are_refused() -> None:
    with pytest.raises(UsageError, match="from 1 to 2"):
        LinearGaussian.fit(data(), 3)
    line = torch.linspace(-1, 1, 50).double()[:, None] * torch.tensor([[1.0, 2.0, -1.0]]).double()
    with pytest.raises(UsageError, match="unbounded"):
        LinearGaussian.fit(line, 1)
