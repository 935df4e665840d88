"""The linear-Gaussian model: a latent-variable model of which everything is known exactly.

    z ~ N(0, I_L),   x = W z + mu + sigma eps,   eps ~ N(0, I_D)

(probabilistic principal components; Tipping and Bishop, 1999). With M = W^T W + sigma^2 I,

    p(x)     = N(mu, W W^T + sigma^2 I)
    p(z | x) = N(M^-1 W^T (x - mu), sigma^2 M^-1)

and the maximum-likelihood solution keeps the L leading eigenvectors U and eigenvalues of the data's
covariance: sigma^2 is the mean of the others, W = U (Lambda - sigma^2 I)^1/2. It is the oracle for every
estimate of a bound: a VAE with linear networks and fixed variance can reach exactly this likelihood.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.distributions import LOG_2PI, Gaussian
from morphogen.core.errors import UsageError


@dataclass(frozen=True)
class LinearGaussian:
    """weight (D, L), offset (D,), noise variance var > 0."""

    weight: Tensor
    offset: Tensor
    var: float

    @classmethod
    def fit(cls, x: Tensor, latents: int) -> LinearGaussian:
        """The maximum-likelihood solution for x (N, D), in float64; W's columns are orthogonal.

        Raises `UsageError` unless 1 <= latents < D and the discarded variance is positive.
        """
        x = x.double()
        if not 1 <= latents < x.shape[1]:
            raise UsageError(f"latents must be from 1 to {x.shape[1] - 1} for {x.shape[1]} dimensions (got {latents}).")
        offset = x.mean(0)
        values, vectors = torch.linalg.eigh((x - offset).T @ (x - offset) / len(x))  # ascending
        var = float(values[:-latents].mean())
        if var <= 1e-12 * float(values[-1]):
            raise UsageError(
                f"the data lie in {latents} dimensions, so the likelihood is unbounded: use fewer latents."
            )
        kept = (values[-latents:] - var).clamp_min(0.0).sqrt()
        return cls((vectors[:, -latents:] * kept).flip(1), offset, var)

    @property
    def covariance(self) -> Tensor:
        """W W^T + sigma^2 I, (D, D)."""
        return self.weight @ self.weight.T + self.var * torch.eye(len(self.offset)).to(self.weight)

    def log_prob(self, x: Tensor) -> Tensor:
        """The exact log p(x), (B,) for x (B, D)."""
        root = torch.linalg.cholesky(self.covariance)
        scaled = torch.linalg.solve_triangular(root, (x - self.offset).T, upper=False)
        return -0.5 * (len(root) * LOG_2PI + scaled.square().sum(0)) - root.diagonal().log().sum()

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The exact p(z | x): mean (B, L), and the covariance (L, L) that all x share."""
        gram = self.weight.T @ self.weight + self.var * torch.eye(self.weight.shape[1]).to(self.weight)
        inverse = torch.linalg.inv(gram)
        return (x - self.offset) @ self.weight @ inverse, self.var * inverse

    def likelihood(self, z: Tensor) -> Gaussian:
        """p(x | z) for z (*batch, L)."""
        mean = z @ self.weight.T + self.offset
        return Gaussian(mean, torch.full_like(mean, math.log(self.var)), event_dims=1)

    def elbo(self, x: Tensor, mean: Tensor, cov: Tensor) -> Tensor:
        """E_q[log p(x | z)] - KL(q || p(z)) in closed form, (B,), for q = N(mean (B, L), cov (L, L) or (B, L, L))."""
        residual = (x - self.offset - mean @ self.weight.T).square().sum(-1)
        spread = (cov * (self.weight.T @ self.weight)).sum((-2, -1))
        distortion = 0.5 * (x.shape[-1] * (LOG_2PI + math.log(self.var)) + (residual + spread) / self.var)
        trace = cov.diagonal(dim1=-2, dim2=-1).sum(-1)
        rate = 0.5 * (trace + mean.square().sum(-1) - mean.shape[-1] - torch.logdet(cov))
        return -distortion - rate

    def sample(self, eps_z: Tensor, eps_x: Tensor) -> Tensor:
        """x (B, D) from standard normal eps_z (B, L) and eps_x (B, D)."""
        return self.likelihood(eps_z).rsample(eps_x)
