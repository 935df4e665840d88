"""`Stepper`: one move from x_t to x_s, s < t, and the `State` that it moves.

Every step onto t = 0 returns E[x_0 | x_t], which is where all published samplers end. The best that can be said of
x_0 there costs an error of O(sigma_t^2) with the last t > 0, so a method of order p shows its order on grids whose last
noise level falls like steps^(-p/2) or faster: sigma / alpha proportional to (1 - i / steps)^rho with rho > p / 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from morphogen.sampling.denoiser import Conditioned

Draw = Callable[[], Tensor]  # the standard normal noise of this step, of the shape of x


@dataclass(frozen=True)
class StepEstimate:
    """An estimate of x_0 made at time t from x."""

    t: Tensor
    x: Tensor
    mean: Tensor


@dataclass(frozen=True)
class State:
    """Where an integration stands.

    step   steps done, of `steps`
    t      the time, of shape (), float64 on the CPU; 0 exactly after the last step
    x      (B, *shape) x_t
    x_0    the estimate E[x_0 | x_t] that the last step was made with, for previews; None at the start. From noise, the
           first one is that of the noise (`sampling/loop.py`)
    past   earlier estimates, the latest first, as far as a multistep method needs them
    """

    step: int
    steps: int
    t: Tensor
    x: Tensor
    x_0: Tensor | None = None
    past: tuple[StepEstimate, ...] = ()

    def moved(self, s: Tensor, x_s: Tensor, x_0: Tensor, past: tuple[StepEstimate, ...] = ()) -> State:
        """One step on."""
        return replace(self, step=self.step + 1, t=s, x=x_s, x_0=x_0, past=past)


class Stepper(ABC):
    """A method of integration; concrete ones are final, frozen and without state.

    order                 of convergence: of the solution for deterministic ones, of moments for stochastic ones
    stochastic            whether steps draw noise
    evaluations_per_step  of the denoiser; the last step takes one
    remembers             whether a step looks at the estimates of earlier ones
    """

    evaluations_per_step: int = 1
    remembers: bool = False

    @property
    @abstractmethod
    def order(self) -> int:
        """Order of convergence."""

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """Whether steps draw noise."""

    @final
    def evaluations(self, steps: int) -> int:
        """Calls of the denoiser in a whole integration of `steps` steps."""
        return self.evaluations_per_step * (steps - 1) + 1

    @final
    def step(self, denoiser: Conditioned, state: State, s: Tensor, draw: Draw) -> State:
        """The state at s < state.t."""
        if s > 0:
            return self._advance(denoiser, state, s, draw)
        mean = denoiser.posterior(state.x, state.t).mean
        return state.moved(s, mean, mean)

    @abstractmethod
    def _advance(self, denoiser: Conditioned, state: State, s: Tensor, draw: Draw) -> State:
        """The state at s, 0 < s < state.t."""
