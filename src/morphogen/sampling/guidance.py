"""Guidance leads samples away from a worse denoiser. It wraps a denoiser, so it works with every stepper.

With D = E[x_0 | x_t] of the good denoiser and D_bad of the worse one,

    D_guided = D_bad + scale (D - D_bad),

Noise estimates, scores and velocities combine in the same way, because they are affine in D. In terms of densities this
is the score of p^scale p_bad^(1 - scale). The worse denoiser is the same network

    without the condition             classifier-free guidance (Ho and Salimans, 2022)
    with a condition to avoid         a negative condition
    or a weaker model                 autoguidance (Karras et al., "Guiding a diffusion model with a bad version of
                                      itself", 2024)

At scale 1, and at times outside `interval` (Kynkaanniemi et al., "Applying guidance in a limited interval", 2024), the
result is exactly D, and the worse denoiser is not evaluated. The variance is always that of the good denoiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import SpecError
from morphogen.sampling.denoiser import Denoiser
from morphogen.theory.schedules import Schedule, broadcast


@final
@dataclass(frozen=True)
class Guided:
    """`good` guided away from `bad`. `classifier_free` and `autoguidance` construct it.

    `avoided` is the condition of `bad`; with `shared`, `bad` gets the same condition as `good` instead. `interval`
    (low, high) is the closed range of t in which guidance acts.
    """

    good: Denoiser
    bad: Denoiser
    scale: float
    interval: tuple[float, float] = (0.0, 1.0)
    avoided: RawCondition | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        low, high = self.interval
        if not 0.0 <= low <= high <= 1.0:
            raise SpecError(f"the interval of guidance must lie in [0, 1] and be in order (got {self.interval}).")

    @property
    def schedule(self) -> Schedule:
        """The schedule of the good denoiser."""
        return self.good.schedule

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """The guided mean, with the good denoiser's variance."""
        good = self.good.posterior(x_t, t, cond)
        active = (t >= self.interval[0]) & (t <= self.interval[1])
        if self.scale == 1.0 or not active.any():
            return good
        bad = self.bad.posterior(x_t, t, cond if self.shared else self.avoided).mean
        guided = bad + self.scale * (good.mean - bad)
        mean = torch.where(broadcast(active, guided).bool(), guided, good.mean)
        return Gaussian(mean, good.log_var, good.event_dims)


def classifier_free(
    denoiser: Denoiser,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
    negative: RawCondition | None = None,
) -> Guided:
    """Guide away from the unconditional model, or from a condition (Ho and Salimans, 2022).

    Args:
        denoiser: the model; it also serves as the worse denoiser.
        scale: strength of the guidance; 1 is none.
        interval: (low, high), the times t in [0, 1] at which guidance acts.
        negative: the condition to lead away from, one row per record; None is no condition.

    Returns:
        The guided denoiser.

    Raises:
        SpecError: `interval` is not in order within [0, 1].
    """
    return Guided(denoiser, denoiser, scale, interval, avoided=negative)


def autoguidance(
    denoiser: Denoiser, weak: Denoiser, scale: float, interval: tuple[float, float] = (0.0, 1.0)
) -> Guided:
    """Guide away from a weaker model under the same condition (Karras et al., 2024).

    Args:
        denoiser: the model.
        weak: a weaker model of the same data with the same schedule.
        scale: strength of the guidance; 1 is none.
        interval: (low, high), the times t in [0, 1] at which guidance acts.

    Returns:
        The guided denoiser.

    Raises:
        SpecError: `interval` is not in order within [0, 1].
    """
    return Guided(denoiser, weak, scale, interval, shared=True)
