"""The interface of a model to this package: the posterior of the clean record, and the schedule of the noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, final, runtime_checkable

from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises
from morphogen.core.distributions import Gaussian
from morphogen.theory.schedules import Schedule


@runtime_checkable
class Denoiser(Denoises, Protocol):
    """The capability `Denoises` with t of shape (B,), and a schedule.

    Wrappers (guidance, measurements) are denoisers too.
    """

    @property
    def schedule(self) -> Schedule:
        """t -> (alpha_t, sigma_t)."""


@dataclass(frozen=True)
class Conditioned:
    """A denoiser with a fixed condition; all records of a call have the same time."""

    denoiser: Denoiser
    cond: RawCondition | None = None

    @property
    def schedule(self) -> Schedule:
        """The schedule of the denoiser."""
        return self.denoiser.schedule

    def posterior(self, x_t: Tensor, t: Tensor) -> Gaussian:
        """p(x_0 | x_t, cond) for x_t (B, *shape) and t of shape ()."""
        return self.denoiser.posterior(x_t, t.to(x_t.device).expand(len(x_t)), self.cond)


@final
@dataclass(frozen=True)
class CachedPosterior(Conditioned):
    """A denoiser with a stored posterior of one x, which it does not compute again."""

    x: Tensor = field(kw_only=True)
    found: Gaussian = field(kw_only=True)

    def posterior(self, x_t: Tensor, t: Tensor) -> Gaussian:
        """The stored posterior if `x_t` is the tensor `x` itself; otherwise the denoiser computes it."""
        return self.found if x_t is self.x else super().posterior(x_t, t)
