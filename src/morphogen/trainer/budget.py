"""The length of a run: a number of steps, or as many as fit into a budget of time. It is planned anew as time passes.

Let c be the seconds of a step, as measured lately; a checkpoint takes k seconds and comes every K seconds, and a sheet
takes l seconds and comes every L seconds. The end (the last checkpoint, the last sheet, the model) takes m seconds. Of
the R seconds that are left, the steps

    n = (R - m) (1 - k / K - l / L) / c

fit. A plan is a straight line from the step s and the share f of the training that was done there to all of it:

    share(step) = f + (1 - f) (step - s) / (total - s),   total = s + n.

Learning rates and warm-ups follow this share, so that they reach their end when the budget does, on a machine whose
speed changes, too. The first plan begins at step 0, from some trial steps. A new plan begins where the last one stands,
so that the share never jumps. A checkpoint holds the plan and what was measured, so a resumed run makes the same steps.

With a budget and a number of steps, the run ends at whichever comes first. It begins as if all steps fit. So if they
fit, the result is that of a run with the number of steps alone, on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from morphogen.trainer.recipe import Recipe

_OFTEN = 0.03  # share of the budget between two plans
_LATE = 0.1  # share of the time that is left between two plans: a slower machine costs no more than a part of it
_SOONEST_S = 0.2
_LOOKING = 0.1  # the largest share of a budget for sheets and health checks
_MARKS = 3  # plans over which the speed is measured


@dataclass
class Pauses:
    """The latest measured seconds of one checkpoint, of one sheet, and of writing the model."""

    checkpoint: float = 0.0
    sheet: float = 0.0
    model: float = 0.0

    @property
    def end(self) -> float:
        """Seconds that the end of the run takes."""
        return self.checkpoint + self.sheet + self.model


class Budget:
    """The planned number of steps, `total`; None while nothing is known. `pace` is the measured seconds of a step."""

    def __init__(self, recipe: Recipe, records: int) -> None:
        self._recipe = recipe
        self.limit = recipe.budget
        self.asked: int | None = recipe.steps
        if recipe.epochs is not None:
            self.asked = max(1, math.ceil(recipe.epochs * records / recipe.batch_size))
        self.total = self.asked
        self.pace: float | None = None
        self._from = (0, 0.0)  # the step and the share at which the plan begins
        self._least = 1  # a run makes one step at least
        self._planned_at: float | None = None  # elapsed seconds
        self._marks: list[tuple[int, float]] = []  # steps, and seconds of training, when plans were made

    def fraction(self, step: int) -> float:
        """The share of the run that is done before `step`; 0 until a total is known."""
        if self.total is None:
            return 0.0
        s, share = self._from
        return 1.0 if step >= self.total else min(1.0, share + (1.0 - share) * (step - s) / (self.total - s))

    def due(self, elapsed_s: float) -> bool:
        """Whether to plan anew."""
        if self.limit is None:
            return False
        left = self.limit - elapsed_s
        if self._planned_at is None or left <= 0.0:
            return True
        return elapsed_s - self._planned_at >= max(_SOONEST_S, min(_OFTEN * self.limit, _LATE * left))

    def measure(self, step: int, training_s: float) -> None:
        """Measure the seconds of a step from the last few plans until now."""
        if self._marks and step > self._marks[0][0] and training_s > self._marks[0][1]:
            s, then = self._marks[0]
            self.pace = (training_s - then) / (step - s)
        self._marks = [*self._marks, (step, training_s)][-_MARKS:]

    def steps_left(self, elapsed_s: float, pauses: Pauses) -> int:
        """The number of steps that still fit, by the formula above."""
        assert self.limit is not None
        if self.pace is None:
            return 0
        recipe = self._recipe
        looking = pauses.sheet / max(self.between_sheets(pauses), 1e-9)
        training = 1.0 - pauses.checkpoint / recipe.checkpoint_seconds - looking
        left = (self.limit - elapsed_s - pauses.end) * max(training, 0.1)
        return max(0, int(left / max(self.pace, 1e-9)))

    def sheet_due(self, since_s: float, elapsed_s: float, pauses: Pauses) -> bool:
        """Whether to make a sheet, if the last one was made so many seconds ago; none delays the end of a budget."""
        if self.limit is not None and elapsed_s + pauses.sheet + pauses.end >= self.limit:
            return False
        return since_s >= self.between_sheets(pauses)

    def between_sheets(self, pauses: Pauses) -> float:
        """Seconds between two sheets: as the recipe says, or more where a sheet takes long and time is short."""
        wished = self._recipe.sheet_seconds
        return wished if self.limit is None else max(wished, pauses.sheet / _LOOKING)

    def plan(self, step: int, left: int, elapsed_s: float) -> bool:
        """Let the run end after `left` more steps, or those that were asked for. Returns whether that is new."""
        total = max(step + left, self._least)
        total = total if self.asked is None else min(self.asked, total)
        self._planned_at = elapsed_s
        if total == self.total:
            return False
        if self.total is not None:
            self._from = step, self.fraction(step)
        self.total = total
        return True

    def end(self, step: int) -> None:
        """Let the run end here."""
        self._from, self.total = (step, self.fraction(step)), step

    def prolong(self, step: int, elapsed_s: float) -> None:
        """Go on from the end of another plan, as if this had been the length from the beginning."""
        self._from, self._least = (0, 0.0), step + 1
        self.total = self.asked if self.limit is None else None
        if self.limit is not None and self.pace is not None:
            self.plan(step, self.steps_left(elapsed_s, Pauses()), elapsed_s)

    def state(self) -> dict[str, Any]:
        """The plan and what was measured, for a checkpoint."""
        return {"total": self.total, "from": list(self._from), "pace": self.pace, "planned_at": self._planned_at}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self.total, self.pace, self._planned_at = state["total"], state["pace"], state["planned_at"]
        step, share = state["from"]
        self._from = step, share
