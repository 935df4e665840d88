"""Ancestral sampling: x_s ~ p(x_s | x_t), the learned reverse chain (Ho et al., 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor

from morphogen.sampling.denoiser import Conditioned
from morphogen.sampling.steppers.base import Draw, State, Stepper
from morphogen.theory.diffusion import Variance, reverse_kernel


@final
@dataclass(frozen=True)
class Ancestral(Stepper):
    """Steps that sample the reverse kernel; `variance` as in `theory.diffusion.reverse_kernel`.

    The fixed variances miss Var(x_0 | x_t) by O(h^2) in each step. The learned variance misses only the covariance
    between elements, so its order is 2 for independent elements and 1 in general.
    """

    variance: Variance = "learned"
    order = 1
    stochastic = True

    def _advance(self, denoiser: Conditioned, state: State, s: Tensor, draw: Draw) -> State:
        posterior = denoiser.posterior(state.x, state.t)
        kernel = reverse_kernel(posterior, state.x, state.t, s, denoiser.schedule, self.variance)
        return state.moved(s, kernel.rsample(draw()), posterior.mean)
