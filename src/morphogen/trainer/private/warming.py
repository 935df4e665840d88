"""A warm-up on moments of classes: what a private training learns before it looks at single units.

Noisy means of classes, and here their covariances too, cost little: one release over all units. A model that has
learned samples of them begins its private steps near the records, and steps on samples cost nothing (Li et al., 2025,
"central images"). The release takes a share of the privacy; the noise of the private steps is planned for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Releases, Samples
from morphogen.core.errors import SpecError
from morphogen.core.family import Family, Progress, require
from morphogen.core.privacy import Spending
from morphogen.core.rng import Rng
from morphogen.trainer.log import Meters
from morphogen.trainer.optim import PlayerOptimizer
from morphogen.trainer.private.releasing import Passes, Shared, unlimited

SHARE = 1 / 3  # of the steps, the first ones


class WarmUp:
    """Samples of a model of moments, and the steps that learn them.

    moments    a family that releases and samples, of the data of `family`
    mechanism  the noise of its release
    size       records of a step
    """

    def __init__(
        self,
        family: Family,
        moments: Family,
        mechanism: Shared,
        optimizers: Mapping[str, PlayerOptimizer],
        size: int,
        seed: int,
    ) -> None:
        if family.conditional and (family.data.attributes or family.data.text is not None):
            raise SpecError("the moments of a warm-up are of classes, and this model reads attributes or captions.")
        self._family, self.moments, self.mechanism = family, moments.to(family.device), mechanism
        self._optimizers, self._size = optimizers, size
        self._rng = Rng(seed, family.device).child("warm-up")
        self.steps = 0

    def plan(self, steps: int) -> int:
        """How many of so many steps are left for private ones."""
        self.steps = min(steps - 1, round(SHARE * steps))
        return steps - self.steps

    def release(self, stream: Passes) -> None:
        """Read the records once, with noise."""
        require(self.moments, Releases, "release").release(stream.passes, self.mechanism)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the moments themselves."""
        return {"steps": self.steps, "spent": [use.to_dict() for use in self.mechanism.spent]}

    def load_state(self, state: Mapping[str, Any], moments: Mapping[str, Tensor]) -> None:
        """The inverse of `state` and the state of `moments`; nothing is released again."""
        self.steps = int(state["steps"])
        self.mechanism.spent = [Spending.parse_stored(use) for use in state["spent"]]
        self.moments.load_state_dict(moments)

    def of(self, at: Progress, meters: Meters | None) -> Iterator[tuple[PlayerOptimizer, Tensor]]:
        """The updates of one step on samples, which are nobody's."""
        batch = self.batch(at.step)
        yield from unlimited(self._family, self._optimizers, batch, self._rng, at, meters)

    def batch(self, step: int) -> Batch:
        """Samples: of each class alike for a model with conditions, else as many of each as there are records."""
        data, first = self._family.data, step * self._size
        index = torch.arange(first, first + self._size)
        cond: RawCondition | None = None
        if self._family.conditional and data.classes:
            cond = RawCondition(self._rng.integers("label", index, len(data.classes)))
        x = require(self.moments, Samples, "sample").sample(self._size, cond, self._rng.shifted(first))
        return Batch(data.encode(data.decode(x)), index, cond, index).to(self._family.device)
