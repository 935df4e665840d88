"""A scale that people understand: it compares a distance with those of known degradations of real pictures.

A rung is the value of a metric for held-out pictures after one degradation. The network and the number of pictures are
the same as for the value to place. A metric may not react to a degradation: precision does not see a dropped class.
Kendall's tau between strength and harm shows this, and only degradations that the metric sees place a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import pydantic
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec
from morphogen.evaluation.context.degradations import Corruption, beside, drawn
from morphogen.theory.statistics.intervals import Estimate

SEEN = 0.5  # a metric sees a degradation from this Kendall's tau on: three of four pairs are in order


class Rung(Spec):
    """One degradation at one strength, and its value of the metric."""

    label: str
    degradation: str
    strength: float
    value: float = pydantic.Field(allow_inf_nan=False)
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, degradation: Corruption, strength: float, found: float | Estimate) -> Rung:
        """Make the rung of a measured value. Raises `DataError` for a NaN or an infinity."""
        value, interval = (float(found), None) if isinstance(found, float | int) else (found.value, found.interval)
        label = degradation.label(strength)
        if not math.isfinite(value):
            raise DataError(f"the distance of {label!r} is {value}; a ladder needs finite values.")
        return cls(label=label, degradation=degradation.name, strength=strength, value=value, interval=interval)

    @property
    def short(self) -> str:
        """The label without the name of the degradation: "0.5 px" of "blur 0.5 px"."""
        return beside(self.degradation, self.label)


class Ladder(Spec):
    """The rungs of one metric; the rungs of a degradation are in order of growing strength.

    n            number of pictures of each rung; place only values with the same number
    network      the name of the feature network, with its hash
    fingerprint  of the data
    """

    metric: str
    network: str = ""
    n: int
    seed: int = 0
    better: Literal["lower", "higher"] = "lower"
    fingerprint: str = ""
    rungs: tuple[Rung, ...] = pydantic.Field(min_length=1)

    def place(self, value: float) -> str:
        """Describe the place of `value` among the rungs of all degradations that the metric sees.

        "between blur 0.5 px and PCA-100" names the two nearest rungs, the milder one first. A value that equals a rung
        is "level with" it. Beyond the ends it is "better than every rung" or "worse than every rung". Raises
        `DataError` if the value is not finite.
        """
        if not math.isfinite(value):
            raise DataError(f"{self.metric} = {value} has no place on a ladder; expected a finite number.")
        seen = [d for d, tau in self.tau().items() if tau >= SEEN]
        order = sorted((r for r in self.rungs if r.degradation in seen), key=self._harm)
        if not order:
            return f"not placed: {self.metric} sees none of these degradations"
        harm = self._sign * value
        level = [r for r in order if self._harm(r) == harm]
        if level:
            more = f" and {len(level) - 1} more" if len(level) > 1 else ""
            return f"level with {level[0].label}{more}"
        milder = [r for r in order if self._harm(r) < harm]
        if not milder:
            return f"better than every rung (milder than {order[0].label})"
        if len(milder) == len(order):
            return f"worse than every rung (beyond {order[-1].label})"
        return f"between {milder[-1].label} and {order[len(milder)].label}"

    def tracks(self) -> dict[str, list[Rung]]:
        """The rungs of each degradation."""
        return {
            d: [r for r in self.rungs if r.degradation == d] for d in dict.fromkeys(r.degradation for r in self.rungs)
        }

    def tau(self) -> dict[str, float]:
        """Kendall's tau-b between strength and harm for each degradation; 0 where all values are equal.

        1: the metric gets worse with every stronger degradation. 0: it does not see the degradation.
        """
        return {d: _tau([self._harm(r) for r in track]) for d, track in self.tracks().items()}

    def monotone(self) -> dict[str, bool]:
        """Whether the metric never improves as a degradation gets stronger, and gets worse from end to end."""
        harms = {d: [self._harm(r) for r in track] for d, track in self.tracks().items()}
        return {d: all(a <= b for a, b in pairwise(h)) and h[0] < h[-1] for d, h in harms.items()}

    def misses(self) -> list[tuple[Rung, Rung]]:
        """The pairs of neighboring strengths for which the metric is not worse at the stronger one."""
        return [
            (a, b) for track in self.tracks().values() for a, b in pairwise(track) if self._harm(b) <= self._harm(a)
        ]

    @property
    def _sign(self) -> float:
        return -1.0 if self.better == "higher" else 1.0

    def _harm(self, rung: Rung) -> float:
        return self._sign * rung.value


def degraded(
    real: Tensor, degradations: Sequence[Corruption], rng: Rng, n: int | None = None
) -> Iterator[tuple[Corruption, float, Tensor]]:
    """Yield each degradation at each strength, with the degraded pictures (n, C, H, W) uint8.

    `real` (M, C, H, W) uint8 are held-out pictures. `n` of them are drawn (all by default), always the same ones. Each
    metric makes its `Rung.of` of the result. Raises `DataError` if there are fewer than `n`.
    """
    n = len(real) if n is None else n
    if not 1 <= n <= len(real):
        raise DataError(f"cannot draw {n} of {len(real)} held-out pictures; ask for 1 to {len(real)}.")
    pictures = real[drawn(len(real), n, rng).to(real.device)]
    for degradation in degradations:
        for strength in degradation.strengths:
            yield degradation, strength, degradation.apply(pictures, strength, rng)


def _tau(harms: Sequence[float]) -> float:
    """Kendall's tau-b of values in the order of strengths, which have no ties."""
    pairs = [(a < b) - (a > b) for i, a in enumerate(harms) for b in harms[i + 1 :]]
    untied = sum(map(abs, pairs))
    return sum(pairs) / math.sqrt(len(pairs) * untied) if untied else 0.0
