"""Evidence lower bounds: their terms, their gradients, and estimates of log p(x) with their uncertainty.

With q = q(z | x) and z ~ q (Kingma and Welling, 2014),

    log p(x) >= ELBO = E_q[log p(x | z)] - KL(q || p(z)) = -distortion - rate.

With K samples and log w_k = log p(x | z_k) + log p(z_k) - log q(z_k | x) (Burda et al., 2016),

    log p(x) >= E[log 1/K sum_k w_k] = IWAE_K,   which never falls as K grows, and tends to log p(x).

The gradient of IWAE_K for the inference network has a signal that vanishes as K grows, relative to
its noise. Written with the normalized weights v_k = w_k / sum_j w_j, and z_k = z(eps_k, phi), it equals in expectation

    sum_k v_k^2  (d log w_k / d z_k) (d z_k / d phi),

the doubly reparameterized gradient (Tucker, Lawson, Gu and Maddison, "Doubly reparameterized gradient
estimators for Monte Carlo objectives", 2019), whose signal does not vanish. The generative parameters
keep the ordinary gradient sum_k v_k d log w_k / d theta. One backward pass yields both:

    z, tag = dreg(posterior.rsample(eps))                             # (K, B, *latent), (K, B)
    log_w = log_weights(x, z, p(x | z), posterior.detach(), prior)    # (K, B)
    loss = dreg_loss(log_w, tag)                                      # (B,) = -IWAE_K
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from morphogen.core.distributions import Gaussian
from morphogen.core.errors import UsageError


class HasLogProb(Protocol):
    """The interface of p(x | z) and p(z) for a bound."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability in nats, event dimensions summed."""


class ElboTerms(NamedTuple):
    """distortion: -log p(x | z) for the sampled z, in nats; rate: KL(q(z | x) || p(z)).

    (*samples, B) each, but (B,) for a rate in closed form.
    """

    distortion: Tensor
    rate: Tensor

    @property
    def elbo(self) -> Tensor:
        """-distortion - rate."""
        return -self.distortion - self.rate


def elbo_terms(x: Tensor, z: Tensor, likelihood: HasLogProb, posterior: Gaussian, prior: HasLogProb) -> ElboTerms:
    """Both terms of the ELBO for `likelihood` = p(x | z) and z drawn from `posterior`.

    The rate is the closed form where the prior is a `Gaussian`, else log q(z | x) - log p(z), unbiased.
    """
    rate = posterior.kl(prior) if isinstance(prior, Gaussian) else posterior.log_prob(z) - prior.log_prob(z)
    return ElboTerms(-likelihood.log_prob(x), rate)


def free_bits(kl: Tensor, floor: float, over: Literal["record", "batch"] = "record") -> Tensor:
    """The rate (B,) from `kl` (B, D) in nats, with `floor` nats a latent dimension free of charge.

    Kingma et al. ("Improving variational inference with inverse autoregressive flow", 2016) charge
    sum_d max(floor, mean_b kl_bd): `over="batch"`. As terms stay per record here, a dimension whose mean
    lies below the floor costs each record `floor` instead, which has the same mean and gradient.
    `over="record"` charges sum_d max(floor, kl_bd), which does not depend on the other records of the
    batch, hence not on how a batch is split over processes.
    """
    if over == "record":
        return kl.clamp_min(floor).sum(-1)
    return torch.where(kl.mean(0) > floor, kl, floor).sum(-1)


def kl_weight(fraction: float, warmup: float) -> float:
    """The linear KL warm-up: from 0 to 1 while `fraction` of training goes from 0 to `warmup`; 1 if that is 0."""
    return 1.0 if fraction >= warmup else fraction / warmup


def log_weights(x: Tensor, z: Tensor, likelihood: HasLogProb, posterior: Gaussian, prior: HasLogProb) -> Tensor:
    """log w = log p(x | z) + log p(z) - log q(z | x), (K, B) for z (K, B, *latent)."""
    return likelihood.log_prob(x) + prior.log_prob(z) - posterior.log_prob(z)


def iwae_bound(log_w: Tensor, dim: int = 0) -> Tensor:
    """log 1/K sum_k w_k over the samples along `dim`, stably: (K, B) -> (B,)."""
    return torch.logsumexp(log_w, dim) - math.log(log_w.shape[dim])


class _Tagged(torch.autograd.Function):
    """Identity on z beside a zero tag, whose gradient scales the one of z in backward."""

    @staticmethod
    def forward(z: Tensor) -> tuple[Tensor, Tensor]:
        return z.clone(), z.new_zeros(z.shape[:2])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_tag: Tensor) -> Tensor:
        # grad_tag is v_k times whatever the record's loss is scaled by; v sums to 1, so this divides it out.
        total = grad_tag.sum(0, keepdim=True)
        weights = torch.where(total == 0.0, 0.0, grad_tag / torch.where(total == 0.0, 1.0, total))
        return grad_z * weights.reshape(weights.shape + (1,) * (grad_z.ndim - 2))


def dreg(z: Tensor) -> tuple[Tensor, Tensor]:
    """z (K, B, *latent) unchanged, and its tag (K, B) of zeros for `dreg_loss`.

    In backward, the weights v_k reach this node as the gradient of the tag and multiply the gradient
    of z_k, which already holds one factor v_k. So there is no hook and no second pass, and it compiles.
    Compute log w from the returned z, with a detached posterior in log q(z | x), and use both results
    in one loss: without the tag's gradient, z gets none.
    """
    result: tuple[Tensor, Tensor] = _Tagged.apply(z)
    return result


def dreg_loss(log_w: Tensor, tag: Tensor) -> Tensor:
    """-IWAE_K (B,) from log weights and tag (K, B); its gradients are those of the module's docstring."""
    return (tag * torch.softmax(log_w, 0).detach()).sum(0) - iwae_bound(log_w)


def effective_sample_size(log_w: Tensor, dim: int = 0) -> Tensor:
    """1 / sum_k v_k^2, from 1 (one sample carries all the weight) to K (Kong, 1992)."""
    return torch.exp(-torch.logsumexp(2.0 * torch.log_softmax(log_w, dim), dim))


def halving(log_w: Tensor, dim: int = 0) -> Tensor:
    """How much the estimate of log p(x) falls with half the samples, (B,): a measure of its bias.

    The estimate from K samples minus the mean of those from its two halves. The bias of a log-mean is
    -Var(w) / (2 K E[w]^2) to first order, so half of K has twice the bias, and this difference
    estimates what is still missing at K. Never negative, as the logarithm is concave.
    """
    k = log_w.shape[dim] // 2 * 2
    if k < 2:
        raise UsageError(f"halving needs at least 2 importance samples (got {log_w.shape[dim]}).")
    whole = log_w.narrow(dim, 0, k)
    first, second = whole.chunk(2, dim)
    return iwae_bound(whole, dim) - 0.5 * (iwae_bound(first, dim) + iwae_bound(second, dim))
