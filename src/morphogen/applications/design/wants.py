r"""What is wanted of a molecule, and how well a molecule meets it.

A want is an interval of a property: `qed>=0.9`, `logp in 2..3`, `sa<=3`. A value outside at distance g from it has the
desirability exp(-g / s), where s is the spread of that property among drug-like molecules; inside it is 1. The score of
a molecule is the geometric mean over all wants (Derringer and Suich, 1980), so one that is missed wholly counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from morphogen.core.errors import UsageError, unknown
from morphogen.data.molecules.properties import PROPERTIES

SPREADS: Mapping[str, float] = {
    "qed": 0.2,
    "logp": 1.5,
    "mol_wt": 100.0,
    "tpsa": 35.0,
    "sa": 0.8,
    "n_heavy": 7.0,
    "n_rings": 1.5,
    "n_hbd": 1.3,
    "n_hba": 2.0,
    "n_rot": 3.0,
    "fsp3": 0.2,
    "similarity": 0.15,
}
ORACLE, SIMILARITY = "oracle", "similarity"  # properties that are not computed from the molecule alone
_NUMBER = r"(-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|-?\.\d+)"
_BOUND = re.compile(rf"(\w+)\s*(>=|<=|>|<)\s*{_NUMBER}")
_RANGE = re.compile(rf"(\w+)\s+in\s+{_NUMBER}\s*\.\.\s*{_NUMBER}")


@dataclass(frozen=True)
class Want:
    """A property that is to lie in [low, high]."""

    name: str
    low: float
    high: float

    @property
    def spread(self) -> float:
        """The distance at which the desirability has fallen to 1/e."""
        return SPREADS.get(self.name, 1.0)

    def desirability(self, value: float) -> float:
        """exp(-distance / spread); 0 for what is no number."""
        if not math.isfinite(value):
            return 0.0
        return math.exp(-max(self.low - value, value - self.high, 0.0) / self.spread)

    def is_met(self, value: float) -> bool:
        """Whether the value lies in the interval."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.low == -math.inf:
            return f"{self.name}<={self.high:g}"
        return f"{self.name}>={self.low:g}" if self.high == math.inf else f"{self.name} in {self.low:g}..{self.high:g}"


def read_wants(text: str, oracle: bool = False) -> tuple[Want, ...]:
    """Wants as text: "qed>=0.9, logp in 2..3, sa<=3"; two bounds of one property are one want.

    Args:
        text: wants with commas between.
        oracle: whether there is an oracle of the user's own, whose values are called `oracle`.

    Raises:
        UsageError: a want that cannot be read, an unknown property, or wants that contradict each other.
    """
    found: dict[str, Want] = {}
    for part in (piece.strip() for piece in text.split(",")):
        bound, between = _BOUND.fullmatch(part), _RANGE.fullmatch(part)
        if bound:
            name, value = bound[1], float(bound[3])
            low, high = (value, math.inf) if bound[2][0] == ">" else (-math.inf, value)
        elif between:
            name, low, high = between[1], float(between[2]), float(between[3])
        else:
            raise UsageError(f"expected a want such as qed>=0.9, sa<=3 or logp in 2..3 (got {part!r}).")
        known = [*PROPERTIES, *([ORACLE] if oracle else [])]
        if name not in known:
            raise UsageError(unknown("property", name, known))
        before = found.get(name)
        if before is not None:
            low, high = max(low, before.low), min(high, before.high)
        if low > high:
            raise UsageError(f"the wants of {name} contradict each other: nothing is above {low:g} and below {high:g}.")
        found[name] = Want(name, low, high)
    return tuple(found.values())


def score(wants: Sequence[Want], values: Mapping[str, float]) -> float:
    """The geometric mean of the desirabilities."""
    product = math.prod(want.desirability(values.get(want.name, math.nan)) for want in wants)
    return product ** (1.0 / len(wants)) if wants else 0.0
