"""The exact denoiser of Gaussian and Gaussian-mixture data: the truth for everything that denoises.

For x_0 ~ sum_k w_k N(m_k, C_k) and C_k = U_k diag(l_k) U_k^T, noise keeps the eigenvectors:

    x_t ~ sum_k w_k N(alpha m_k, U_k diag(alpha^2 l_k + sigma^2) U_k^T),
    x_0 | x_t, k: mean  m_k + U_k diag(alpha l_k / (alpha^2 l_k + sigma^2)) U_k^T (x_t - alpha m_k),
                  cov   U_k diag(sigma^2 l_k / (alpha^2 l_k + sigma^2)) U_k^T,
    P(k | x_t)    proportional to w_k N(x_t; alpha m_k, ...),

and the moments of x_0 | x_t are those of the mixture. With one component the probability flow is linear too: along each
eigenvector, (x_t - alpha_t m) / sqrt(alpha_t^2 l + sigma_t^2) stays what it is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.distributions import LOG_2PI, Gaussian
from morphogen.core.errors import UsageError
from morphogen.theory.schedules import Schedule


class GaussianMixtureDenoiser:
    """p(x_0 | x_t) of mixture data, exactly: the capability `Denoises`, with its `schedule`.

    weights (K,) positive, normalized here; means (K, *shape); covs (K, D, D) of flattened records, positive definite.
    labels (K,) int64 make components classes: a condition's label keeps those of its class, -1 keeps all.
    """

    def __init__(
        self, schedule: Schedule, weights: Tensor, means: Tensor, covs: Tensor, labels: Tensor | None = None
    ) -> None:
        self.schedule, self.labels = schedule, labels
        self.shape = tuple(means.shape[1:])
        self.log_weights, self.means = (weights / weights.sum()).log(), means.flatten(1)
        self.values, self.vectors = torch.linalg.eigh(covs)  # (K, D), (K, D, D) with eigenvectors in columns
        if not (self.values > 0.0).all():
            raise UsageError("the covariances of an exact denoiser must be positive definite.")

    @classmethod
    def gaussian(cls, schedule: Schedule, mean: Tensor, cov: Tensor) -> GaussianMixtureDenoiser:
        """One component: mean (*shape), cov (D, D)."""
        return cls(schedule, torch.ones(1).to(mean), mean[None], cov[None])

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """E[x_0 | x_t] and the variance of each element, for x_t (B, *shape) and t of shape () or (B,)."""
        alpha, total, centered, log_joint = self._components(x_t, t, cond)
        mixing = log_joint.softmax(1)[..., None]  # (B, K, 1)
        gain = alpha * self.values / total
        means = self.means + torch.einsum("kde,bke->bkd", self.vectors, gain * centered)
        variances = torch.einsum("kde,bke->bkd", self.vectors.square(), self.values * (1.0 - alpha * gain))
        mean = (mixing * means).sum(1)
        var = (mixing * (variances + (means - mean[:, None]).square())).sum(1)
        return Gaussian(mean.reshape(x_t.shape), var.log().reshape(x_t.shape))

    def log_prob(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Tensor:
        """log p(x_t), (B,), for x_t (B, *shape); t = 0 is the data."""
        log_joint = self._components(x_t, t, cond)[-1]
        if cond is not None and cond.label is not None:
            log_joint = log_joint - self._log_prior(cond).logsumexp(1, keepdim=True)
        return log_joint.logsumexp(1)

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of x_t over all classes, for t of shape ()."""
        alpha, sigma = self.schedule(t)
        w = self.log_weights.exp()
        mean = w @ self.means
        between = self.means - mean
        cov = torch.einsum("k,kde,ke,kfe->df", w, self.vectors, self.values, self.vectors)
        cov = cov + torch.einsum("k,kd,ke->de", w, between, between)
        return alpha * mean, alpha.square() * cov + sigma.square() * torch.eye(len(mean)).to(cov)

    def sample(self, uniform: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t (n, *shape) from `uniform` (n,), which picks components, and standard normal `eps` (n, *shape)."""
        alpha, sigma = self.schedule(t)
        k = torch.searchsorted(self.log_weights.exp().cumsum(0), uniform.contiguous()).clamp_max(len(self.means) - 1)
        scaled = (alpha.square() * self.values + sigma.square()).sqrt()[k] * eps.flatten(1)
        return (alpha * self.means[k] + torch.einsum("bde,be->bd", self.vectors[k], scaled)).reshape(eps.shape)

    def flow(self, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """x_s on the probability-flow path through x_t (B, *shape), t and s of shape (). One component only."""
        if len(self.means) != 1:
            raise UsageError(f"the flow is closed-form for one Gaussian, not for a mixture of {len(self.means)}.")
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.schedule(t), self.schedule(s)
        values, vectors = self.values[0], self.vectors[0]
        growth = (alpha_s.square() * values + sigma_s.square()) / (alpha_t.square() * values + sigma_t.square())
        centered = (x_t.flatten(1) - alpha_t * self.means) @ vectors
        return ((centered * growth.sqrt()) @ vectors.T + alpha_s * self.means).reshape(x_t.shape)

    def _components(self, x_t: Tensor, t: Tensor, cond: RawCondition | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha (B or 1, 1, 1); in eigenvectors, variances of x_t and x_t - alpha m_k (B, K, D); log w_k p(x_t | k)."""
        alpha, sigma = (c.to(x_t).reshape(-1, 1, 1) for c in self.schedule(t))
        total = alpha.square() * self.values + sigma.square()
        centered = torch.einsum("kde,bkd->bke", self.vectors, x_t.flatten(1)[:, None] - alpha * self.means)
        log_density = -0.5 * (centered.square() / total + total.log() + LOG_2PI).sum(-1)
        return alpha, total.expand_as(centered), centered, log_density + self._log_prior(cond)

    def _log_prior(self, cond: RawCondition | None) -> Tensor:
        """log w_k, (B or 1, K), -infinite for components of other classes."""
        if cond is None or cond.label is None:
            return self.log_weights[None]
        if self.labels is None:
            raise UsageError("a label was given to a mixture without classes: build it with `labels`.")
        label = cond.label[:, None]
        return torch.where((label < 0) | (label == self.labels), self.log_weights, -math.inf)
