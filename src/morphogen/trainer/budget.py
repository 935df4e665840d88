"""How many steps a run has: stated, or measured once from a budget of time and then fixed.

After a warm-up of a twentieth of the budget, with c(h) the mean seconds of a step, and each
checkpoint (sheet) of k (l) seconds coming every K (L) seconds, the R seconds that remain hold

    n = R (1 - k / K - l / L) / c

more steps. The number is stored in the checkpoint, so a resumed run has the same schedule.

With a budget and a number of steps, the run ends at the first. It begins as if all steps fitted, so that where they do,
it is the run of so many steps, whatever the machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from morphogen.trainer.recipe import Recipe

_SETTLING_STEPS = 3  # the first ones allocate and are slow
_SHARE = 0.05  # of the budget, that the measurement takes


@dataclass
class Pauses:
    """Seconds that one checkpoint and one sheet take, as last measured."""

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
        """Note that `step` steps are done; true once it is time to `settle`."""
        if self.settled or self._recipe.budget is None:
            return False
        if self._from is None:
            if step >= _SETTLING_STEPS:
                self._from = step, training_s
            return elapsed_s >= self._recipe.budget
        enough = step - self._from[0] >= 2 and training_s - self._from[1] >= _SHARE * self._recipe.budget
        return enough or elapsed_s >= self._recipe.budget / 2

    def settle(self, total: int) -> None:
        """No more than `total` steps fit into the budget."""
        self.total, self.settled = total if self.total is None else min(self.total, total), True

    def steps_left(self, step: int, elapsed_s: float, training_s: float, pauses: Pauses) -> int:
        """The number of steps that still fit, by the formula above."""
        assert self._recipe.budget is not None
        if self._from is None or step == self._from[0]:
            return 0
        c = (training_s - self._from[1]) / (step - self._from[0])
        left = self._recipe.budget - elapsed_s - 2 * pauses.checkpoint - pauses.sheet  # those of the end
        training = 1.0 - pauses.checkpoint / self._recipe.checkpoint_seconds - pauses.sheet / self._recipe.sheet_seconds
        return max(0, round(left * max(training, 0.1) / c))
