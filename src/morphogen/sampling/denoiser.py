"""What everything here needs of a model: the posterior of the clean record, and the process that it belongs to."""

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
    """The capability `Denoises`, called with t (B,), and its schedule.

    Wrappers (guidance, measurements) are denoisers too.
    """

    @property
    def schedule(self) -> Schedule:
        """t -> (alpha_t, sigma_t)."""


@dataclass(frozen=True)
class Conditioned:
    """A denoiser with its condition, asked at one time for all records."""

    denoiser: Denoiser
    cond: RawCondition | None = None

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    def posterior(self, x_t: Tensor, t: Tensor) -> Gaussian:
        """p(x_0 | x_t, cond) for x_t (B, *shape) and t of shape ()."""
        return self.denoiser.posterior(x_t, t.to(x_t.device).expand(len(x_t)), self.cond)


@final
@dataclass(frozen=True)
class CachedPosterior(Conditioned):
    """A denoiser that has said what it has to say of one x already, and is not asked again."""

    x: Tensor = field(kw_only=True)
    found: Gaussian = field(kw_only=True)

    def posterior(self, x_t: Tensor, t: Tensor) -> Gaussian:
        """What is known of x itself, that same tensor; anything else is asked."""
        return self.found if x_t is self.x else super().posterior(x_t, t)
