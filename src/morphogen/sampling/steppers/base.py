"""`Stepper`: one step from x_t to x_s, s < t, and the `State` of an integration.

Every step to t = 0 returns E[x_0 | x_t], as all published samplers do. This has an error of O(sigma_t^2) at the last
t > 0. So a method shows its order p only on grids with a last noise level that falls like steps^(-p/2) or faster:
sigma / alpha proportional to (1 - i / steps)^rho with rho > p / 2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor

from morphogen.sampling.denoiser import Conditioned
from morphogen.theory.schedules import Schedule

Draw = Callable[[], Tensor]  # the standard normal noise of this step, of the shape of x


@dataclass(frozen=True)
class StepEstimate:
    """`mean`, the estimate of x_0 from x at time t."""

    t: Tensor
    x: Tensor
    mean: Tensor


@dataclass(frozen=True)
class State:
    """The state of an integration.

    step   number of finished steps, of `steps`
    t      the time, of shape (), float64 on the CPU; 0 exactly after the last step
    x      (B, *shape) x_t
    x_0    the estimate E[x_0 | x_t] of the last step, for previews; None at the start. If the start is noise alone,
           the first estimate is that of the noise (`sampling/loop.py`)
    past   the earlier estimates that a multistep method needs, the latest first
    """

    step: int
    steps: int
    t: Tensor
    x: Tensor
    x_0: Tensor | None = None
    past: tuple[StepEstimate, ...] = ()

    def moved(self, s: Tensor, x_s: Tensor, x_0: Tensor, past: tuple[StepEstimate, ...] = ()) -> State:
        """The state after one more step."""
        return replace(self, step=self.step + 1, t=s, x=x_s, x_0=x_0, past=past)


class Stepper(ABC):
    """A method of integration. Concrete steppers are final, frozen and without state.

    order                 order of convergence: of the solution if deterministic, of the moments if stochastic
    stochastic            whether steps draw noise
    evaluations_per_step  calls of the denoiser per step; the last step always takes one
    remembers             whether a step uses the estimates of earlier steps
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

    def suited_grid(self, schedule: Schedule) -> str:
        """The name of the grid over which few steps of this method are most accurate, by measurement.

        `benchmarks.validity.grids` measures all of them on exact mixtures and on trained networks. Models are stored
        with the grid "auto": a change of this changes their samples.
        """
        return "angle"

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
