"""Runge-Kutta steps along the probability flow, in the schedule's own time.

The flow dx/dt = u(x, t) has the marginals of x_t for every t (Song et al., 2021; Lipman et al., 2023):

    u = alpha' E[x_0 | x_t] + sigma' E[eps | x_t] = (sigma' / sigma) x_t + (alpha' - alpha sigma' / sigma) E[x_0 | x_t].

For a rectified flow, u is the network's own velocity; for EDM's schedule these are the steps of Karras et al. (2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from morphogen.core.errors import SpecError
from morphogen.sampling.denoiser import Conditioned
from morphogen.sampling.steppers.base import Draw, State, Stepper
from morphogen.theory.diffusion import q_step
from morphogen.theory.schedules import Schedule


def velocity(mean: Tensor, x_t: Tensor, t: Tensor, denoiser: Conditioned) -> Tensor:
    """u(x_t, t) from mean = E[x_0 | x_t], 0 < t <= 1, t of shape ()."""
    (alpha, sigma), (d_alpha, d_sigma) = denoiser.schedule(t), denoiser.schedule.derivatives(t)
    growth = d_sigma / sigma
    return growth * x_t + (d_alpha - alpha * growth) * mean


def _own_time(schedule: Schedule) -> str:
    """Even steps in the schedule's own time; where that is sigma, they would all be at high noise."""
    return "karras" if schedule.kind == "exploding" else "uniform"


@final
@dataclass(frozen=True)
class Euler(Stepper):
    """x_s = x_t + (s - t) u(x_t, t)."""

    order = 1
    stochastic = False

    def suited_grid(self, schedule: Schedule) -> str:
        return _own_time(schedule)

    def _advance(self, denoiser: Conditioned, state: State, s: Tensor, draw: Draw) -> State:
        mean = denoiser.posterior(state.x, state.t).mean
        return state.moved(s, state.x + (s - state.t) * velocity(mean, state.x, state.t, denoiser), mean)


@final
@dataclass(frozen=True)
class Heun(Stepper):
    """The mean of the velocities at both ends; with `churn` > 0 the stochastic sampler of Karras et al. (2022).

    Before a step, churn adds noise to x_t by the forward process q, until the noise-to-signal ratio is (1 + gamma)
    times larger. gamma = min(churn / steps, sqrt 2 - 1) for ratios from `low` to `high`, and 0 elsewhere. The time
    never exceeds 1.
    """

    churn: float = 0.0
    low: float = 0.0
    high: float = math.inf
    order = 2
    evaluations_per_step = 2

    def __post_init__(self) -> None:
        if self.churn < 0.0:
            raise SpecError(f"churn must not be negative (got {self.churn}).")

    @property
    def stochastic(self) -> bool:
        return self.churn > 0.0

    def suited_grid(self, schedule: Schedule) -> str:
        return _own_time(schedule)

    def _advance(self, denoiser: Conditioned, state: State, s: Tensor, draw: Draw) -> State:
        t, x = self._churned(denoiser, state, draw) if self.churn else (state.t, state.x)
        mean = denoiser.posterior(x, t).mean
        u = velocity(mean, x, t, denoiser)
        guess = x + (s - t) * u
        u_s = velocity(denoiser.posterior(guess, s).mean, guess, s, denoiser)
        return state.moved(s, x + (s - t) * (0.5 * (u + u_s)), mean)

    def _churned(self, denoiser: Conditioned, state: State, draw: Draw) -> tuple[Tensor, Tensor]:
        log_snr = denoiser.schedule.log_snr(state.t)
        ratio = float(torch.exp(-0.5 * log_snr))
        gamma = min(self.churn / state.steps, math.sqrt(2.0) - 1.0)
        back = denoiser.schedule.time(log_snr - 2.0 * math.log1p(gamma))
        if not (self.low <= ratio <= self.high and back > state.t):
            return state.t, state.x
        return back, q_step(state.x, state.t, back, denoiser.schedule).rsample(draw())
