"""The input of a denoising network, and the meaning of its output: a posterior of the record, or a training error.

The input and the output of a network have about unit scale under every schedule. The input is

    x_t / sqrt(alpha^2 + sigma^2)

and the output is F = y / sqrt(a^2 + b^2), where y = a x_0 + b eps is the parametrization (`theory.parametrizations`).
With "v" this means, for every schedule, D = cos(theta) x_hat - sin(theta) F on the circle tan(theta) = sigma / alpha.
For a variance-preserving schedule F is v itself. For a variance-exploding one it is the preconditioning of Karras et
al. (2022) for data of unit variance, and the plain error |F - F'|^2 has their weighting. With "flow" F is the direction
of the velocity, without its speed: (eps - x_0) / sqrt 2 for a rectified flow.

The variance of x_0 | x_t is

    beta_tilde   0
    beta         sigma^2 / (alpha^2 + sigma^2), the variance of independent elements of unit variance
    learned      the same times e^r, where r is a second output for each element

and these give the reverse kernels of the same names (`theory.diffusion`): sigma^2 for a variance-preserving schedule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from morphogen.core.distributions import Gaussian
from morphogen.theory.diffusion import Variance
from morphogen.theory.parametrizations import coefficients, output_of, x_0_of
from morphogen.theory.schedules import Schedule, broadcast
from morphogen.theory.weightings import weight

_FURTHEST = 20.0  # bound of |r|: keeps e^r finite, and no data need more


@final
@dataclass(frozen=True)
class Readout:
    """See the module's docstring. Times t are (B,) float64, records and noise (B, C, ...).

    bounds  the range of bounded records; the mean is clamped to it, because E[x_0 | x_t] lies in it
    """

    schedule: Schedule
    parametrization: str
    variance: Variance = "learned"
    bounds: tuple[float, float] | None = None

    @property
    def outputs(self) -> int:
        """Number of outputs per element: 1 for F, and 1 for r if the variance is learned."""
        return 2 if self.variance == "learned" else 1

    def noised(self, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = alpha x_0 + sigma eps."""
        alpha, sigma = self.schedule(t)
        return broadcast(alpha, x_0) * x_0 + broadcast(sigma, x_0) * eps

    def seen(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The input of the network: x_t scaled to about unit variance."""
        return x_t / broadcast(torch.hypot(*self.schedule(t)), x_t)

    def scale(self, t: Tensor) -> Tensor:
        """sqrt(a^2 + b^2), of the shape of t."""
        return torch.hypot(*coefficients(self.parametrization, t, self.schedule))

    def error(self, output: Tensor, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """The mean of |F - F'|^2 over elements, (B,), for the network's output at x_t = alpha x_0 + sigma eps."""
        y = output_of(self.parametrization, x_0, eps, t, self.schedule)
        return (y / broadcast(self.scale(t), y) - self._split(output)[0]).square().flatten(1).mean(1)

    def weight(self, weighting: str, t: Tensor, s: Tensor | None = None) -> Tensor:
        """The factor of `error` under a weighting of `theory.weightings`; it has the shape of t."""
        return weight(weighting, self.parametrization, t, self.schedule, s=s) * self.scale(t).square()

    def posterior(self, output: Tensor, x_t: Tensor, t: Tensor) -> Gaussian:
        """p(x_0 | x_t) from the network's output at x_t."""
        f, r = self._split(output)
        mean = x_0_of(self.parametrization, broadcast(self.scale(t), f) * f, x_t, t, self.schedule)
        if self.bounds is not None:
            mean = mean.clamp(*self.bounds)
        alpha, sigma = self.schedule(t)
        log_var = broadcast(2.0 * (sigma.log() - torch.hypot(alpha, sigma).log()), mean)
        if self.variance == "beta_tilde":
            log_var = torch.full_like(log_var, -math.inf)
        if r is not None:
            log_var = log_var + r.clamp(-_FURTHEST, _FURTHEST)
        return Gaussian(mean, log_var.expand_as(mean))

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        """F, and r where there is one."""
        if self.variance != "learned":
            return output, None
        f, r = output.chunk(2, dim=1)
        return f, r
