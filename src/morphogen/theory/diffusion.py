"""The forward process q, its exact reverse, the learned reverse p, and the variational bound between them.

With x_t = alpha_t x_0 + sigma_t eps, and L = log-SNR(s) - log-SNR(t) > 0 for s < t,

    q(x_t | x_0)      = N(alpha_t x_0, sigma_t^2)
    q(x_t | x_s)      = N(alpha_t / alpha_s x_s, beta),                beta = sigma_t^2 (1 - e^-L)
    q(x_s | x_t, x_0) = N(carry x_t + gain x_0, beta_tilde),           beta_tilde = sigma_s^2 (1 - e^-L)
                        carry = (alpha_t / alpha_s) sigma_s^2 / sigma_t^2,   gain = alpha_s beta / sigma_t^2,

beta being sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2 without the cancellation. The discrete chain of Ho et al. (2020)
is any grid of times. Denoising diffusion implicit models (Song et al., 2021) keep every marginal q(x_t | x_0) but
change the noise of a step to eta^2 beta_tilde, from eta = 1 (above) to eta = 0 (no noise):

    carry = (sigma_s / sigma_t) sqrt(1 - eta^2 (1 - e^-L)),   gain = alpha_s - carry alpha_t.

The reverse p(x_s | x_t) has only the posterior mean and variance of x_0. By the law of total variance

    p(x_s | x_t): mean = carry x_t + gain E[x_0 | x_t],   var = beta_tilde + gain^2 Var(x_0 | x_t),

both moments are exact for any data and any stride, and the whole kernel is exact if x_0 | x_t is a Gaussian. Var = 0
gives beta_tilde; Var = sigma_t^2 gives beta for a variance-preserving schedule: the two choices of Ho et al. So one
network that estimates Var(x_0 | x_t) serves every stride. On a grid 0 = t_0 < ... < t_N = 1,

    -log p(x_0) <= KL(q(x_1 | x_0) || p(x_1))                            prior
                   + sum_i E_q KL(q(x_s | x_t, x_0) || p(x_s | x_t))     diffusion, s = t_(i-1) > 0, t = t_i
                   - E_q log p(x_0 | x_t)                                reconstruction, t = t_1,

p(x_1) = N(0, sigma_1^2). The last p(x_0 | x_t) is N(E[x_0 | x_t], Var(x_0 | x_t)), or its mass in the bins of
quantized data.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from morphogen.core.distributions import Distribution, Gaussian
from morphogen.core.errors import SpecError, unknown
from morphogen.theory.discretized import DiscretizedGaussian
from morphogen.theory.schedules import Schedule, broadcast

Variance = Literal["learned", "beta", "beta_tilde"]


class Stride(NamedTuple):
    """q(x_s | x_t, x_0) = N(carry x_t + gain x_0, var), and e^-rate = carry alpha_t / alpha_s; of the shape of t."""

    carry: Tensor
    gain: Tensor
    var: Tensor
    rate: Tensor


def stride(t: Tensor, s: Tensor, schedule: Schedule, eta: float = 1.0) -> Stride:
    """From t to s, 0 <= s < t <= 1, with noise of variance eta^2 beta_tilde."""
    (alpha_s, sigma_s), (_, sigma_t) = schedule(s), schedule(t)
    log_ratio = schedule.log_snr(s) - schedule.log_snr(t)
    noisy = -torch.expm1(-log_ratio)  # 1 - e^-L
    kept = (1.0 - eta**2) + eta**2 * torch.exp(-log_ratio)  # 1 - eta^2 (1 - e^-L)
    rate = 0.5 * (log_ratio - kept.log())
    return Stride(
        sigma_s / sigma_t * kept.sqrt(), alpha_s * -torch.expm1(-rate), (eta * sigma_s).square() * noisy, rate
    )


def q_marginal(x_0: Tensor, t: Tensor, schedule: Schedule) -> Gaussian:
    """q(x_t | x_0) for x_0 (B, *shape); at t = 0 its variance is 0 and its log-variance -infinite."""
    alpha, sigma = schedule(t)
    return _normal(broadcast(alpha, x_0) * x_0, 2.0 * sigma.log())


def q_step(x_s: Tensor, s: Tensor, t: Tensor, schedule: Schedule) -> Gaussian:
    """q(x_t | x_s), 0 <= s < t <= 1, for x_s (B, *shape)."""
    (alpha_t, _), (alpha_s, _) = schedule(t), schedule(s)
    return _normal(broadcast(alpha_t / alpha_s, x_s) * x_s, _beta(t, s, schedule).log())


def q_posterior(x_t: Tensor, x_0: Tensor, t: Tensor, s: Tensor, schedule: Schedule, eta: float = 1.0) -> Gaussian:
    """q(x_s | x_t, x_0), 0 <= s < t <= 1, for x_t and x_0 (B, *shape); `eta` as in the module's docstring."""
    carry, gain, var, _ = stride(t, s, schedule, eta)
    return _normal(broadcast(carry, x_t) * x_t + broadcast(gain, x_t) * x_0, var.log())


def reverse_kernel(
    posterior: Gaussian, x_t: Tensor, t: Tensor, s: Tensor, schedule: Schedule, variance: Variance = "learned"
) -> Gaussian:
    """p(x_s | x_t), 0 <= s < t <= 1, from `posterior` = p(x_0 | x_t), by the law of total variance.

    `variance` "learned" is that law; "beta_tilde" and "beta" are the fixed choices of Ho et al. (2020). At s = 0 the
    learned kernel is `posterior` itself.
    """
    carry, gain, var, _ = (broadcast(c, x_t) for c in stride(t, s, schedule))
    if variance == "learned":
        var = var + gain.square() * posterior.var
    elif variance == "beta":
        var = broadcast(_beta(t, s, schedule), x_t)
    elif variance != "beta_tilde":
        raise SpecError(unknown("variance", variance, ("learned", "beta", "beta_tilde")))
    mean = carry * x_t + gain * posterior.mean
    return Gaussian(mean, var.log().expand_as(mean), posterior.event_dims)


def _normal(mean: Tensor, log_var: Tensor) -> Gaussian:
    """N(mean, exp(log_var)) with a log-variance of shape () or (B,)."""
    return Gaussian(mean, broadcast(log_var, mean).expand_as(mean))


def _beta(t: Tensor, s: Tensor, schedule: Schedule) -> Tensor:
    """The variance of q(x_t | x_s)."""
    return schedule(t)[1].square() * -torch.expm1(schedule.log_snr(t) - schedule.log_snr(s))


# ------------------------------------------------------- the variational bound, (B,) in nats


def prior(x_0: Tensor, schedule: Schedule) -> Gaussian:
    """p(x_1) = N(0, sigma_1^2), with the shape, dtype and device of x_0."""
    sigma = schedule(torch.ones((), dtype=torch.float64))[1]
    return _normal(torch.zeros_like(x_0), 2.0 * sigma.log())


def prior_term(x_0: Tensor, schedule: Schedule) -> Tensor:
    """KL(q(x_1 | x_0) || p(x_1)) = alpha_1^2 |x_0|^2 / (2 sigma_1^2)."""
    return q_marginal(x_0, torch.ones((), dtype=torch.float64), schedule).kl(prior(x_0, schedule))


def diffusion_term(
    x_0: Tensor,
    x_t: Tensor,
    t: Tensor,
    s: Tensor,
    posterior: Gaussian,
    schedule: Schedule,
    variance: Variance = "learned",
) -> Tensor:
    """KL(q(x_s | x_t, x_0) || p(x_s | x_t)) of one stride, 0 < s < t <= 1."""
    return q_posterior(x_t, x_0, t, s, schedule).kl(reverse_kernel(posterior, x_t, t, s, schedule, variance))


def decoder(posterior: Gaussian, levels: int | None) -> Distribution:
    """p(x_0 | x_t) of the last step: the posterior's density, or its mass on `levels` values in [-1, 1]."""
    return posterior if levels is None else DiscretizedGaussian(posterior.mean, 0.5 * posterior.log_var, levels)


def reconstruction_term(x_0: Tensor, posterior: Gaussian, levels: int | None = None) -> Tensor:
    """-log p(x_0 | x_t) at the first t of the grid."""
    return -decoder(posterior, levels).log_prob(x_0)
