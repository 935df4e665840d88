"""What a family recommends for data and time: options of its own and of the training, each with its reason.

A caller asks `Family.recommend`, keeps what its user has said, and takes the rest. Among `sizes`, networks from small
to large, it takes the largest that makes `needs` steps in the time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from morphogen.core.data_spec import DataSpec

_PASSES_SHARE = 16  # a batch is about this fraction of the records
_SMALLEST, _LARGEST = 16, 128
_SIDES, _LONG_S = (32, 64), 3600.0  # pixels, and the seconds from which on the larger ones pay
_PRIVATE_PASSES, _PRIVATE_PART = 20, 128  # of a private training: a twentieth of the records, in parts of so many
_PRIVATE_LARGEST = 2048
_FEW = 5000  # records of which mirror images are worth having


@dataclass(frozen=True)
class Situation:
    """What is to be learned, and for how long.

    records   how many there are to train on
    seconds   of the budget; None where the length is a number of steps
    mirrored  whether mirror images look like records, so that they can serve as such
    plain     whether updates see whole gradients without noise: neither private nor sharded
    """

    data: DataSpec
    records: int
    seconds: float | None = None
    mirrored: bool = False
    plain: bool = True

    @property
    def side(self) -> int:
        """The shorter side of a picture, or 0."""
        return min(self.data.shape[1:]) if self.data.is_picture else 0

    @property
    def described(self) -> bool:
        """Whether there are captions, or classes of at least ten records each."""
        classes = len(self.data.classes)
        return self.data.text is not None or 2 <= classes <= self.records // 10


@dataclass(frozen=True)
class Choice:
    """One option and why it has this value; not taken where an option of `unless` is given."""

    name: str
    value: Any
    why: str
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """Choices that hold for every network, the networks from small to large, and the steps that a training needs.

    choices  options of the family
    training options of the training
    sizes    options of networks, from small to large; empty: the family has no rule for these data
    needs    fewer steps make nothing that resembles the records
    purpose  what the family is taken for, in a few words; empty: it is not suggested
    stages   what to expect from so many steps on
    """

    choices: Sequence[Choice] = ()
    training: Sequence[Choice] = ()
    sizes: Sequence[Mapping[str, Any]] = ()
    needs: int = 0
    purpose: str = ""
    stages: Sequence[tuple[int, str]] = ()

    def expected(self, steps: int) -> str:
        """What so many steps make."""
        return next((said for least, said in reversed(self.stages) if steps >= least), "nothing to recognize")


def recommended_side(seconds: float | None) -> int:
    """The side of large pictures to begin with: a step at 64 px takes four times that at 32 px."""
    return _SIDES[0] if seconds is not None and seconds < _LONG_S else _SIDES[1]


def recommended_training(situation: Situation, most: int = _LARGEST) -> list[Choice]:
    """The batch and mirroring that suit every family. A batch has about a sixteenth of the records, 16 to `most`."""
    n = situation.records
    wished = 2 ** round(math.log2(max(n, 1) / _PASSES_SHARE)) if n else 1
    batch = max(1, min(n, max(_SMALLEST, min(most, wished))))
    found = [Choice("batch_size", batch, f"for {n:,} records", ("accumulate",))]
    if situation.mirrored and n < _FEW and situation.data.context_shape is None:
        found.append(Choice("flips", True, "mirror images look like records here, and there are few"))
    return found


def private_training(records: int) -> list[Choice]:
    """The batch of a private training: its noise is that of a sum, so that large batches have less of it a record."""
    parts = max(1, min(records // _PRIVATE_PASSES, _PRIVATE_LARGEST) // _PRIVATE_PART)
    size = parts * _PRIVATE_PART if records >= 2 * _PRIVATE_PART else max(1, records // 2)
    why = "private steps need large batches, and noise hides small ones"
    return [Choice("batch_size", size, why, ("accumulate",)), Choice("accumulate", parts, why, ("batch_size",))]
