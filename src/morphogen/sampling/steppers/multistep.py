"""Exponential integrators in the log-SNR: DDIM, DPM-Solver++ 2M and its SDE, and UniPC are one method.

With lambda = log(alpha / sigma) and a noise of eta^2 beta_tilde a step, the reverse process given x_0 is solved by
q(x_s | x_t, x_0) exactly (`theory.diffusion`). As E[x_0 | x_lambda] = D(lambda) changes along the step,

    x_s = carry x_t + gain D_mean + noise,   D_mean = int_0^1 D(u) e^(-H (1 - u)) du / int_0^1 e^(-H (1 - u)) du,

with u = (lambda - lambda_t) / (lambda_s - lambda_t) and e^-H = carry alpha_t / alpha_s; H is lambda_s - lambda_t
without noise and twice that with eta = 1. Replacing D(u) by the polynomial through earlier estimates makes D_mean a
weighted mean of them:

    estimates  corrector  eta
    1          no         0..1   DDIM (Song et al., 2021); at eta = 1, DDPM with variance beta_tilde
    2          no         0, 1   DPM-Solver++ 2M, and its SDE (Lu et al., 2022)
    1, 2       yes        0      UniPC (Zhao et al., 2023): the next estimate also corrects the step before it,
                                 without a further evaluation, and raises the order by one

More estimates would not raise the order, because the first step has only one estimate.

The weights integrate the polynomial exactly. Two estimates are the exception: like the three papers, the code takes the
value of the line at the middle of the stride. The order is the same, and large steps extrapolate less.

The papers interpolate in lambda, which is infinite at either end of a process that starts with alpha = 0. Strides there
never become small, and the order falls. In the angle theta = arctan(sigma / alpha), from 0 to at most pi/2, D is smooth
at both ends. `variable` "angle" interpolates in theta, with the same integral and e^lambda = cot theta. On the oracles
it is several times more accurate at 10 to 20 steps (benchmarks/validity/steppers.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final, get_args

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import SpecError, unknown
from morphogen.sampling.denoiser import Conditioned
from morphogen.sampling.steppers.base import Draw, State, StepEstimate, Stepper
from morphogen.theory.diffusion import stride
from morphogen.theory.schedules import Schedule

Variable = Literal["log-snr", "angle"]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


@final
@dataclass(frozen=True)
class Multistep(Stepper):
    """See the module's docstring. Raises `SpecError` for a corrector with noise."""

    estimates: int = 2
    corrector: bool = False
    eta: float = 0.0
    variable: Variable = "log-snr"

    def __post_init__(self) -> None:
        if self.estimates not in (1, 2) or not 0.0 <= self.eta <= 1.0:
            raise SpecError(f"expected 1 or 2 estimates and eta from 0 to 1, got {self.estimates} and {self.eta}.")
        if self.variable not in get_args(Variable):
            raise SpecError(unknown("variable of interpolation", self.variable, get_args(Variable)))
        if self.corrector and self.eta:
            raise SpecError("the corrector is for the process without noise: set eta to 0.")

    @property
    def order(self) -> int:
        return self.estimates + self.corrector

    @property
    def stochastic(self) -> bool:
        return self.eta > 0.0

    @property
    def remembers(self) -> bool:  # type: ignore[override]
        return self.estimates > 1 or self.corrector

    def suited_grid(self, schedule: Schedule) -> str:
        return "log-snr" if self.variable == "log-snr" and self.remembers and not self.stochastic else "angle"

    def _advance(self, denoiser: Conditioned, state: State, s: Tensor, draw: Draw) -> State:
        here = StepEstimate(state.t, state.x, denoiser.posterior(state.x, state.t).mean)
        if self.corrector and state.past:
            corrected = self._move(state.past[0], state.t, (here, *state.past), denoiser.schedule)[0]
            here = replace(here, x=corrected)
        past = (here, *state.past)[: self.estimates]
        x_s, deviation = self._move(here, s, past, denoiser.schedule)
        if self.stochastic:
            x_s = x_s + deviation * draw()
        return state.moved(s, x_s, here.mean, past)

    def _move(
        self, start: StepEstimate, s: Tensor, known: tuple[StepEstimate, ...], schedule: Schedule
    ) -> tuple[Tensor, Tensor]:
        """The mean of x_s from `start`, with D interpolated through `known`, and the deviation of its noise."""
        carry, gain, var, rate = stride(start.t, s, schedule, self.eta)
        log_snr = [float(schedule.log_snr(t)) for t in (start.t, s, *(e.t for e in known))]
        weights = interpolation_weights(log_snr[0], log_snr[1], log_snr[2:], float(rate), self.variable)
        mean = torch.stack([w * e.mean for w, e in zip(weights, known, strict=True) if w]).sum(0)
        return carry * start.x + gain * mean, var.sqrt()


def interpolation_weights(
    start: float, end: float, known: Sequence[float], rate: float, variable: Variable = "log-snr"
) -> list[float]:
    """Weights of estimates at log-SNRs `known` in D_mean of the stride from log-SNR `start` to `end`; they sum to 1.

    Three and more estimates integrate the interpolating polynomial against e^(-rate (1 - u)); two estimates give the
    value of the line at the middle. There is no polynomial through log-SNRs of -infinity. A stride that starts there
    gives all estimates equal weights (a line in e^lambda); later strides ignore estimates at -infinity.
    """
    if variable == "log-snr" and start == -math.inf:
        return [1.0 / len(known)] * len(known)
    place = _angle if variable == "angle" else float
    at = {j: place(k) for j, k in enumerate(known) if math.isfinite(place(k))}
    low, high = place(start), place(end)
    if len(at) < 3:
        v, kernel = np.array([0.5 * (low + high)]), np.ones(1)
    else:
        v = low + (high - low) * 0.5 * (_NODES + 1.0)
        log_snr = -2.0 * np.log(np.tan(v)) if variable == "angle" else v
        slope = 1.0 / np.sin(2.0 * v) if variable == "angle" else 1.0  # d lambda / dv up to a factor
        kernel = _WEIGHTS * slope * np.exp(-rate * (end - log_snr) / (end - start))
    weights = [0.0] * len(known)
    for j, here in at.items():
        basis = np.ones_like(v)
        for i, other in at.items():
            if i != j:
                basis = basis * (v - other) / (here - other)
        weights[j] = float((kernel * basis).sum() / kernel.sum())
    return weights


def _angle(log_snr: float) -> float:
    """arctan(sigma / alpha)."""
    return 0.5 * math.pi if log_snr == -math.inf else math.atan(math.exp(-0.5 * log_snr))
