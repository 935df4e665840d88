"""Linear inverse problems by posterior sampling: a denoiser that also knows a measurement.

Of x_0 one has y = A x_0 + noise_std n. If x_0 | x_t were Gaussian with mean D and covariance C, then

    E[x_0 | x_t, y] = D + C A^T (A C A^T + noise_std^2 I)^-1 (y - A D),

and a stepper that follows this mean draws from p(x_0 | y). It is exact for Gaussian data. The covariance is

    jacobian   C = (sigma_t^2 / alpha_t) dD/dx_t, Tweedie's formula differentiated, which holds for any data: elements
               inform each other (Rozet et al., "Learning diffusion priors from observations by expectation
               maximization", 2024). A product with C is a vector-Jacobian product of the network.
    diagonal   C = Var(x_0 | x_t) of the network: no gradients, exact for independent elements (after Song et al.,
               "Pseudoinverse-guided diffusion models for inverse problems", 2023, who set it to a constant).

The system is solved to the least residual that a few products with C allow. A network's Jacobian is neither quite
symmetric nor positive, and on such a system conjugate gradients diverge; the least residual cannot grow. As alpha tends
to 0 the Jacobian vanishes and its errors grow, so noisier x_t are read as if sigma / alpha were 100, where next to
nothing of the data is left.

The variance stays that of x_0 | x_t, an upper bound of what it is given y too. So sample with methods that use the mean
alone: all but the ancestral one with variance "learned".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.operators import LinearOperator, Masking
from morphogen.theory.schedules import Schedule, broadcast


@final
@dataclass(frozen=True)
class Measured:
    """`denoiser`, given y = `operator`(x_0) + `noise_std` n, y (B, *measured shape); see the module's docstring."""

    denoiser: Denoiser
    operator: LinearOperator
    measurement: Tensor
    noise_std: float = 0.0
    covariance: Literal["jacobian", "diagonal"] = "jacobian"
    iterations: int = 5

    def __post_init__(self) -> None:
        if self.covariance not in ("jacobian", "diagonal") or self.iterations < 1 or self.noise_std < 0.0:
            raise SpecError(
                "a measured denoiser needs covariance 'jacobian' or 'diagonal', at least 1 iteration and noise_std of"
                f" at least 0 (got {self.covariance!r}, {self.iterations}, {self.noise_std})."
            )

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    @cached_property
    def _latest(self) -> Tensor:
        """The time at which sigma / alpha = 100, or 1."""
        return self.schedule.time(torch.tensor(-2.0 * math.log(100.0), dtype=torch.float64))

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """E[x_0 | x_t, y], with the variance of x_0 | x_t."""
        if self.covariance == "jacobian":
            t = torch.minimum(t, self._latest.to(t))
        with torch.set_grad_enabled(self.covariance == "jacobian"):
            x = x_t.detach().requires_grad_(self.covariance == "jacobian")
            found = self.denoiser.posterior(x, t, cond)
        mean, var = found.mean.detach(), found.var.detach()
        alpha, sigma = self.schedule(t)

        def spread(u: Tensor) -> Tensor:
            """C u."""
            if self.covariance == "diagonal":
                return var * u
            (product,) = torch.autograd.grad(found.mean, x, u, retain_graph=True)
            return broadcast(sigma.square() / alpha, x) * product

        def measured(v: Tensor) -> Tensor:
            """(A C A^T + noise_std^2 I) v."""
            return self.operator.forward(spread(self.operator.adjoint(v))) + self.noise_std**2 * v

        residual = self.measurement.to(mean) - self.operator.forward(mean)
        solution = least_residual(measured, residual, self.iterations)
        return Gaussian(mean + spread(self.operator.adjoint(solution)), var.log(), found.event_dims)


@final
@dataclass(frozen=True)
class Replaced:
    """`denoiser`, whose estimate is `record` (B, *shape) with certainty where `known` (broadcasting to it) is true.

    Then every stepper takes the known part along q(x_t | record), which is inpainting by replacement, and ends on it
    exactly. The rest still sees that part through its noise alone; `inpainting` makes the rest consistent too.
    """

    denoiser: Denoiser
    record: Tensor
    known: Tensor

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """The denoiser's, with the known part in place."""
        found = self.denoiser.posterior(x_t, t, cond)
        known = self.known.to(x_t.device).bool()
        mean = torch.where(known, self.record.to(found.mean), found.mean)
        return Gaussian(mean, torch.where(known, -torch.inf, found.log_var), found.event_dims)


def inpainting(
    denoiser: Denoiser,
    record: Tensor,
    known: Tensor,
    covariance: Literal["jacobian", "diagonal"] = "jacobian",
    iterations: int = 5,
) -> Replaced:
    """Draws what is not `known` (1 or true, broadcasting to the records) of `record` (B, *shape); keeps the rest."""
    operator = Masking(known)
    measured = Measured(denoiser, operator, operator.forward(record), 0.0, covariance, iterations)
    return Replaced(measured, record, known)


def least_residual(product: Callable[[Tensor], Tensor], right: Tensor, iterations: int) -> Tensor:
    """v with the least |right - M v| in the span of right, M right, .. M^(iterations - 1) right, each record apart.

    right (B, *shape); M of any kind, given by its `product`. Exact after as many iterations as a diagonalizable M has
    different eigenvalues (Saad and Schultz, "GMRES", 1986). Records that are solved stay as they are.
    """
    one = (-1, *(1,) * (right.ndim - 1))

    def unit(v: Tensor, least: Tensor | float) -> Tensor:
        size = v.flatten(1).norm(dim=1)
        return torch.where((size > least).reshape(one), v / size.clamp_min(1e-30).reshape(one), 0.0)

    basis, images = [unit(right, 0.0)], []
    for _ in range(iterations):
        images.append(product(basis[-1]))
        new = images[-1]
        for _ in range(2):  # once leaves them orthogonal to within rounding of the largest part taken away
            for v in basis:
                new = new - (new * v).flatten(1).sum(1).reshape(one) * v
        basis.append(unit(new, 1e-5 * images[-1].flatten(1).norm(dim=1)))
    spanned, reached = (torch.stack([v.flatten(1) for v in part], 2).double() for part in (basis[:-1], images))
    # Normal equations square the condition, which double precision leaves room for.
    wanted = reached.mT @ right.flatten(1).double()[..., None]
    weights = torch.linalg.pinv(reached.mT @ reached, rtol=1e-12, hermitian=True) @ wanted
    return (spanned @ weights)[..., 0].to(right).reshape(right.shape)
