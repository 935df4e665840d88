"""The times of a run: those of a named grid, or of the grid that suits the stepper."""

from __future__ import annotations

from torch import Tensor

from morphogen.sampling import grids
from morphogen.sampling.steppers.base import Stepper
from morphogen.theory.schedules import Schedule


def planned(stepper: Stepper, name: str, schedule: Schedule, steps: int, start: float = 1.0) -> Tensor:
    """The grid called `name`, or with "auto" the one that `stepper` names; the rest is as of `grids.grid`."""
    return grids.grid(stepper.suited_grid(schedule) if name == grids.AUTO else name, schedule, steps, start)
