"""The number of steps of a run: given, or measured once from a budget of time and then fixed.

The warm-up is a twentieth of the budget. Let c be the mean seconds of a step; a checkpoint takes k seconds and comes
every K seconds, and a sheet takes l seconds and comes every L seconds. Then the remaining R seconds hold

    n = R (1 - k / K - l / L) / c

more steps. The number is stored in the checkpoint, so a resumed run has the same schedule.

With a budget and a number of steps, the run ends at whichever comes first. It begins as if all steps fit. So if they
fit, the result is that of a run with the number of steps alone, on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from morphogen.trainer.recipe import Recipe

_SETTLING_STEPS = 3  # the first steps allocate memory and are slow
_SHARE = 0.05  # share of the budget for the measurement


@dataclass
class Pauses:
    """The latest measured seconds of one checkpoint and of one sheet."""

    checkpoint: float = 0.0
    sheet: float = 0.0


class Budget:
    """The number of steps, `total`; None until it is measured, and provisional until it is `settled`."""

    def __init__(self, recipe: Recipe, records: int) -> None:
        self._recipe = recipe
        self.total: int | None = recipe.steps
        if recipe.epochs is not None:
            self.total = max(1, math.ceil(recipe.epochs * records / recipe.batch_size))
        self.settled = recipe.budget is None
        self._from: tuple[int, float] | None = None

    def fraction(self, step: int) -> float:
        """The share of the run that is done before `step`; 0 until the total is known."""
        return 0.0 if self.total is None else min(1.0, step / self.total)

    def observe(self, step: int, elapsed_s: float, training_s: float) -> bool:
        """Record that `step` steps are done. Returns true once it is time to `settle`."""
        if self.settled or self._recipe.budget is None:
            return False
        if self._from is None:
            if step >= _SETTLING_STEPS:
                self._from = step, training_s
            return elapsed_s >= self._recipe.budget
        enough = step - self._from[0] >= 2 and training_s - self._from[1] >= _SHARE * self._recipe.budget
        return enough or elapsed_s >= self._recipe.budget / 2

    def settle(self, total: int) -> None:
        """Fix the number of steps at `total` or fewer."""
        self.total, self.settled = total if self.total is None else min(self.total, total), True

    def steps_left(self, step: int, elapsed_s: float, training_s: float, pauses: Pauses) -> int:
        """The number of steps that still fit, by the formula above."""
        assert self._recipe.budget is not None
        if self._from is None or step == self._from[0]:
            return 0
        c = (training_s - self._from[1]) / (step - self._from[0])
        left = self._recipe.budget - elapsed_s - 2 * pauses.checkpoint - pauses.sheet  # the pauses at the end
        training = 1.0 - pauses.checkpoint / self._recipe.checkpoint_seconds - pauses.sheet / self._recipe.sheet_seconds
        return max(0, round(left * max(training, 0.1) / c))
