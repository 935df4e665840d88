"""Solve linear inverse problems by posterior sampling, with a denoiser that also uses a measurement.

The measurement is y = A x_0 + noise_std n. If x_0 | x_t were Gaussian with mean D and covariance C, then

    E[x_0 | x_t, y] = D + C A^T (A C A^T + noise_std^2 I)^-1 (y - A D),

and a stepper with this mean samples p(x_0 | y). It is exact for Gaussian data. The covariance is

    jacobian   C = (sigma_t^2 / alpha_t) dD/dx_t, the derivative of Tweedie's formula, for any data. It has the
               covariances between elements (Rozet et al., "Learning diffusion priors from observations by
               expectation maximization", 2024). A product with C is a vector-Jacobian product of the network.
    diagonal   C = Var(x_0 | x_t) of the network: no gradients, exact for independent elements (after Song et al.,
               "Pseudoinverse-guided diffusion models for inverse problems", 2023, who set it to a constant).

The solver minimizes the residual over a few products with C. A network's Jacobian is not quite symmetric or positive.
Conjugate gradients diverge on such a system, but the least residual cannot grow. As alpha tends to 0, the Jacobian
vanishes and its errors grow. So an x_t with sigma / alpha above 100 gets the time at which sigma / alpha is 100; almost
nothing of the data is left there.

The variance stays that of x_0 | x_t, an upper bound of the variance of x_0 | x_t, y. So use samplers that need only the
mean: all but the ancestral one with variance "learned".
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
    """`denoiser` with a measurement y = `operator`(x_0) + `noise_std` n; see the module's docstring.

    `measurement` is y (B, *measured shape). `noise_std` is in units of x. `iterations` is the number of products with
    the covariance that the solver takes.
    """

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
    """`denoiser` with a certain estimate, `record` (B, *shape), where `known` is true; `known` broadcasts to it.

    Every stepper then moves the known part along q(x_t | record) and ends on it exactly: inpainting by replacement. The
    rest depends on the known part only through its noisy values. `inpainting` also makes the rest consistent with it.
    """

    denoiser: Denoiser
    record: Tensor
    known: Tensor

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """The posterior of the denoiser, with the known part replaced."""
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
    """A denoiser that keeps the known part of a record and samples the rest.

    Args:
        denoiser: the model.
        record: (B, *shape) in the units of x_0; values outside of `known` do not matter.
        known: 1 or true for each element to keep; broadcasts to `record`.
        covariance: "jacobian" or "diagonal"; see the module's docstring.
        iterations: number of products with the covariance per evaluation, at least 1.

    Returns:
        The denoiser for any stepper but the ancestral one with variance "learned".

    Raises:
        SpecError: `covariance` is unknown or `iterations` is below 1.
    """
    operator = Masking(known)
    measured = Measured(denoiser, operator, operator.forward(record), 0.0, covariance, iterations)
    return Replaced(measured, record, known)


def least_residual(product: Callable[[Tensor], Tensor], right: Tensor, iterations: int) -> Tensor:
    """Solve M v = right by least residuals (Saad and Schultz, "GMRES", 1986), for each record separately.

    v minimizes |right - M v| in the span of right, M right, ..., M^(iterations - 1) right. It is exact after as many
    iterations as a diagonalizable M has different eigenvalues. Solved records do not change any more.

    Args:
        product: v -> M v for v (B, *shape); M need not be symmetric.
        right: the right-hand side (B, *shape).
        iterations: number of products with M.

    Returns:
        v (B, *shape).
    """
    one = (-1, *(1,) * (right.ndim - 1))

    def unit(v: Tensor, least: Tensor | float) -> Tensor:
        size = v.flatten(1).norm(dim=1)
        return torch.where((size > least).reshape(one), v / size.clamp_min(1e-30).reshape(one), 0.0)

    basis, images = [unit(right, 0.0)], []
    for _ in range(iterations):
        images.append(product(basis[-1]))
        new = images[-1]
        for _ in range(2):  # a second pass removes the rounding errors of the first
            for v in basis:
                new = new - (new * v).flatten(1).sum(1).reshape(one) * v
        basis.append(unit(new, 1e-5 * images[-1].flatten(1).norm(dim=1)))
    spanned, reached = (torch.stack([v.flatten(1) for v in part], 2).double() for part in (basis[:-1], images))
    # Normal equations square the condition number; double precision is enough for that.
    wanted = reached.mT @ right.flatten(1).double()[..., None]
    weights = torch.linalg.pinv(reached.mT @ reached, rtol=1e-12, hermitian=True) @ wanted
    return (spanned @ weights)[..., 0].to(right).reshape(right.shape)
