"""A scale that people understand: a distance placed among those of known degradations of real pictures.

A rung is the value that a metric gives to held-out pictures after one degradation, with the same network and the
same number of pictures as the value that is placed on the ladder. A metric may be blind to a degradation (precision
does not see a dropped class): Kendall's tau between strength and harm says so, and only what is seen is used to place.
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

SEEN = 0.5  # Kendall's tau from which a metric sees a degradation: three of four pairs in the right order


class Rung(Spec):
    """One degradation at one strength, and what the metric says of it."""

    label: str
    degradation: str
    strength: float
    value: float = pydantic.Field(allow_inf_nan=False)
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, degradation: Corruption, strength: float, found: float | Estimate) -> Rung:
        """The rung of what was measured. Raises `DataError` for a NaN or an infinity."""
        value, interval = (float(found), None) if isinstance(found, float | int) else (found.value, found.interval)
        label = degradation.label(strength)
        if not math.isfinite(value):
            raise DataError(f"the distance of {label!r} is {value}; a ladder needs finite values.")
        return cls(label=label, degradation=degradation.name, strength=strength, value=value, interval=interval)

    @property
    def short(self) -> str:
        """The label beside the name of the degradation: "0.5 px" of "blur 0.5 px"."""
        return beside(self.degradation, self.label)


class Ladder(Spec):
    """The rungs of one metric, those of a degradation in growing strength of harm.

    n            pictures a rung was measured with; place only values measured with as many
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
        """Where `value` stands, in words, among the rungs of all degradations that the metric sees.

        "between blur 0.5 px and PCA-100" names the rungs next to it, the milder one first; one that equals a rung
        is "level with" it; beyond both ends it is "better than every rung" or "worse than every rung". Raises
        `DataError` if the value is no finite number.
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

        1 means that every stronger degradation is judged worse, 0 that the metric is blind to it.
        """
        return {d: _tau([self._harm(r) for r in track]) for d, track in self.tracks().items()}

    def monotone(self) -> dict[str, bool]:
        """Whether the metric never gets better as a degradation gets stronger, and worse from end to end."""
        harms = {d: [self._harm(r) for r in track] for d, track in self.tracks().items()}
        return {d: all(a <= b for a, b in pairwise(h)) and h[0] < h[-1] for d, h in harms.items()}

    def misses(self) -> list[tuple[Rung, Rung]]:
        """The pairs of neighboring strengths of which the metric finds the stronger one no worse."""
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
    """Each degradation at each strength, with the pictures (n, C, H, W) uint8 that it makes of real ones.

    `real` (M, C, H, W) uint8 are held-out pictures, of which `n` are drawn (all by default), the same ones every
    time. Each metric makes its `Rung.of` of them. Raises
    `DataError` if there are fewer than `n`.
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
