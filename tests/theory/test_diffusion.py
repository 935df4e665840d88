"""The forward process, its reverse and the variational bound against composition, quadrature and exact Gaussians."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError
from morphogen.theory.diffusion import (
    decoder,
    diffusion_term,
    prior,
    prior_term,
    q_marginal,
    q_posterior,
    q_step,
    reconstruction_term,
    reverse_kernel,
    stride,
)
from morphogen.theory.gaussian_denoiser import GaussianMixtureDenoiser
from morphogen.theory.schedules import SCHEDULES, Schedule, schedule


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


STRIDES = [(0.9, 0.4), (0.31, 0.3), (1.0, 0.05)]
X_0 = torch.tensor([[0.7, -1.3]], dtype=torch.float64)
X_T = torch.tensor([[-0.2, 0.5]], dtype=torch.float64)
LINE = torch.linspace(-400, 400, 2_000_001, dtype=torch.float64)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_composed_chain_is_the_marginal(name: str) -> None:
    s = schedule(name)
    times = torch.linspace(0, 1, 8, dtype=torch.float64)
    mean, var = X_0, torch.zeros_like(X_0)
    for earlier, later in pairwise(times):
        step = q_step(mean, earlier, later, s)
        ratio = s(later)[0] / s(earlier)[0]
        mean, var = step.mean, ratio.square() * var + step.var
        marginal = q_marginal(X_0, later, s)
        torch.testing.assert_close(mean, marginal.mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(var, marginal.var.expand_as(var), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("t", "s"), STRIDES)
def test_the_posterior_is_bayes_by_quadrature(name: str, t: float, s: float) -> None:
    process = schedule(name)
    q_s = q_marginal(number(0.7).reshape(1, 1), number(s), process)
    exact = q_posterior(X_T[:, :1], X_0[:, :1], number(t), number(s), process)
    line = exact.mean + exact.stddev * torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    likelihood = q_step(line, number(s), number(t), process).log_prob(X_T[:, :1])
    posterior = (q_s.log_prob(line) + likelihood).softmax(0)[:, None]
    mean = (posterior * line).sum(0)
    torch.testing.assert_close(mean, exact.mean[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close((posterior * (line - mean).square()).sum(0), exact.var[0], rtol=1e-8, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("t", "s"), STRIDES)
def test_every_eta_keeps_the_marginal_given_the_record(name: str, eta: float, t: float, s: float) -> None:
    process = schedule(name)
    q_t, q_s = q_marginal(X_0, number(t), process), q_marginal(X_0, number(s), process)
    carry, gain, var, rate = stride(number(t), number(s), process, eta)
    torch.testing.assert_close(carry * q_t.mean + gain * X_0, q_s.mean, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(carry.square() * q_t.var + var, q_s.var, rtol=1e-11, atol=0)
    torch.testing.assert_close(torch.exp(-rate), carry * process(number(t))[0] / process(number(s))[0])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("t", "s"), [*STRIDES, (0.6, 0.0)])
def test_for_gaussian_data_the_reverse_kernel_is_exact_at_any_stride(name: str, t: float, s: float) -> None:
    """Against conditioning the joint Gaussian of (x_s, x_t), in mean and variance, for independent elements."""
    process, m, c = schedule(name), torch.tensor([0.3, -0.5]).double(), torch.tensor([0.4, 1.7]).double()
    oracle = GaussianMixtureDenoiser.gaussian(process, m, c.diag())
    kernel = reverse_kernel(oracle.posterior(X_T, number(t)), X_T, number(t), number(s), process)
    (a_t, s_t), (a_s, s_s) = process(number(t)), process(number(s))
    var_s, var_t = a_s**2 * c + s_s**2, a_t**2 * c + s_t**2
    cross = a_t / a_s * var_s
    torch.testing.assert_close(kernel.mean[0], a_s * m + cross / var_t * (X_T[0] - a_t * m), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(kernel.var[0], var_s - cross**2 / var_t, rtol=1e-8, atol=0)


def test_the_two_fixed_variances_are_those_of_no_and_of_full_uncertainty() -> None:
    t, s = number(0.7), number(0.55)
    for name in ("linear-beta", "cosine"):
        process = schedule(name)
        beta = q_step(X_T, s, t, process).var
        beta_tilde = q_posterior(X_T, X_0, t, s, process).var
        certain = Gaussian(X_0, torch.full_like(X_0, -math.inf))
        ignorant = Gaussian(X_0, torch.full_like(X_0, float(2 * process(t)[1].log())))
        for posterior, var, fixed in ((certain, beta_tilde, "beta_tilde"), (ignorant, beta, "beta")):
            learned = reverse_kernel(posterior, X_T, t, s, process).var
            torch.testing.assert_close(learned, var.expand_as(learned), rtol=1e-12, atol=0)
            torch.testing.assert_close(reverse_kernel(posterior, X_T, t, s, process, fixed).var, var)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="unknown variance"):
        reverse_kernel(certain, X_T, t, s, process, "large")  # type: ignore[arg-type]


def test_times_may_differ_from_record_to_record() -> None:
    process, t, s = schedule("cosine"), torch.tensor([0.9, 0.5]).double(), torch.tensor([0.4, 0.2]).double()
    x, x_t = torch.randn(2, 3, 4, 4).double(), torch.randn(2, 3, 4, 4).double()
    together = q_posterior(x_t, x, t, s, process)
    for i in range(2):
        alone = q_posterior(x_t[i : i + 1], x[i : i + 1], t[i], s[i], process)
        torch.testing.assert_close(together.mean[i : i + 1], alone.mean)
        torch.testing.assert_close(together.rsample(x)[i : i + 1], alone.rsample(x[i : i + 1]))


# --------------------------------------------------------------------------- the bound


def expected_bound(process: Schedule, times: Tensor, x_0: Tensor, oracle: GaussianMixtureDenoiser) -> Tensor:
    """The three terms with their expectations over x_t by quadrature; x_0 (B, 1)."""
    z = torch.linspace(-10, 10, 301, dtype=torch.float64)[:, None]
    weights = (-0.5 * z.square()).softmax(0)[:, 0]
    total = prior_term(x_0, process)
    for s, t in pairwise(times):
        for i, record in enumerate(x_0):
            x_t = q_marginal(record[None], t, process).rsample(z)
            posterior = oracle.posterior(x_t, t)
            same = record.expand_as(x_t)
            term = (
                diffusion_term(same, x_t, t, s, posterior, process) if s > 0 else reconstruction_term(same, posterior)
            )
            total[i] += weights @ term
    return total


def test_for_gaussian_data_the_bound_is_the_likelihood_at_any_number_of_steps() -> None:
    """The reverse kernels are exact there, so nothing is lost but the prior's mismatch, 0 where alpha_1 = 0."""
    process = schedule("rectified-flow")
    oracle = GaussianMixtureDenoiser.gaussian(process, number(0.4)[None], number(0.3)[None, None])
    x_0 = torch.tensor([[0.1], [1.5]]).double()
    for steps in (1, 2, 7):
        bound = expected_bound(process, torch.linspace(0, 1, steps + 1).double(), x_0, oracle)
        torch.testing.assert_close(-bound, oracle.log_prob(x_0, number(0.0)), rtol=1e-9, atol=1e-9)


def test_for_a_mixture_the_bound_rises_to_the_likelihood() -> None:
    process = schedule("cosine")
    oracle = GaussianMixtureDenoiser(
        process,
        torch.tensor([0.4, 0.6]).double(),
        torch.tensor([[-1.0], [0.8]]).double(),
        torch.tensor([0.1, 0.2]).double()[:, None, None],
    )
    line = torch.linspace(-4, 4, 41, dtype=torch.float64)[:, None]
    log_p = oracle.log_prob(line, number(0.0))
    gaps = []
    for steps in (2, 6, 18):
        times = torch.linspace(0, 1, steps + 1).double()
        gaps.append(float(log_p.softmax(0) @ (expected_bound(process, times, line, oracle) + log_p)))
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2] > 0.0


def test_the_decoder_of_quantized_data_is_a_mass() -> None:
    posterior = Gaussian(torch.tensor([[0.1]]).double(), torch.tensor([[-3.0]]).double())
    values = torch.linspace(-1, 1, 16, dtype=torch.float64)[:, None]
    assert decoder(posterior, 16).measure == "mass" and decoder(posterior, None).measure == "density"
    assert float((-reconstruction_term(values, posterior, 16)).exp().sum()) == pytest.approx(1.0, abs=1e-12)


def test_the_prior_term_is_the_divergence_of_the_end_of_the_chain() -> None:
    for name in SCHEDULES:
        process = schedule(name)
        kl = q_marginal(X_0, number(1.0), process).kl(prior(X_0, process))
        torch.testing.assert_close(prior_term(X_0, process), kl)
        if float(process(number(1.0))[0]) == 0.0:
            assert float(kl) == 0.0
