r"""What a training promises about privacy: differential privacy, and the ledger of what was spent.

A randomized mechanism M is (epsilon, delta)-differentially private (Dwork et al., 2006) if for all neighboring data
sets D and D' and all sets S of outcomes

    P(M(D) in S) <= exp(epsilon) P(M(D') in S) + delta.

Neighbors differ by one *unit*, which is added or removed: a record, or all records with one value of a column. What is
computed from the outcome alone, such as samples of a model, keeps the promise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic

from morphogen.core.errors import ArtifactError, SpecError
from morphogen.core.spec import Spec

RECORD = "record"  # the unit where no column names another one


class Spending(Spec):
    """One use of the records that is counted: what it was for, and what it would cost alone.

    noise   the standard deviation of the noise divided by the largest change that one unit can make; None: no Gaussian
    rate    the probability with which a unit takes part in one round
    rounds  how often
    """

    what: str
    epsilon: float = pydantic.Field(ge=0)
    delta: float = pydantic.Field(default=0.0, ge=0, lt=1)
    noise: float | None = pydantic.Field(default=None, gt=0)
    rate: float = pydantic.Field(default=1.0, gt=0, le=1)
    rounds: int = pydantic.Field(default=1, ge=0)


class Promise(Spec):
    """The stored form of a `PrivacyGuarantee`."""

    epsilon: Annotated[float, pydantic.Field(ge=0)]
    delta: Annotated[float, pydantic.Field(ge=0, lt=1)]
    unit: str = RECORD
    accountant: str
    ledger: tuple[Spending, ...] = ()
    public: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    release: bool = True


@dataclass(frozen=True)
class PrivacyGuarantee:
    """What a private training promises about its records.

    Attributes:
        epsilon: of all uses of the records together.
        delta: of all uses of the records together.
        unit: whose presence is hidden: "record", or the column whose values name the units.
        accountant: how the uses were composed.
        ledger: each use of the records, and what it would cost alone.
        public: what is taken to be known about the records anyway.
        not_covered: what the promise says nothing about.
        release: whether the noise came from a strong source; False for a seeded run, which others must not see.

    Example:
        >>> mg.describe("runs/first")["privacy"] is None  # it was not trained with privacy
        True
    """

    epsilon: float
    delta: float
    unit: str
    accountant: str
    ledger: tuple[Spending, ...] = ()
    public: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    release: bool = True

    @classmethod
    def stored(cls, provenance: Mapping[str, Any]) -> PrivacyGuarantee | None:
        """The guarantee in the provenance of an artifact; None where it gives none. Raises `ArtifactError`."""
        found = provenance.get("privacy")
        if found is None:
            return None
        if not isinstance(found, Mapping):
            raise ArtifactError("the guarantee of privacy in spec.json is none.")
        try:
            promise = Promise.parse_stored(found)
        except SpecError as error:
            raise ArtifactError(f"the guarantee of privacy in spec.json is none ({error}).") from None
        return cls(**{name: getattr(promise, name) for name in Promise.model_fields})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, the inverse of `stored`."""
        return Promise(**self.__dict__).to_dict()

    @property
    def of_whom(self) -> str:
        """The unit in words."""
        return "one record" if self.unit == RECORD else f"all records with one value of {self.unit!r}"

    def sentence(self) -> str:
        """The guarantee in one sentence."""
        said = (
            f"adding or removing {self.of_whom} changes the probability of any outcome of the training by a factor of"
            f" at most e^{self.epsilon:.4g} = {_factor(self.epsilon)}, up to a probability of {self.delta:.3g}"
            f" (accountant: {self.accountant})"
        )
        if self.public:
            said += f"; taken as public: {', '.join(self.public)}"
        if self.not_covered:
            said += f"; not covered: {', '.join(self.not_covered)}"
        return said + ("." if self.release else "; NOT FOR RELEASE: the noise was seeded, so it can be computed again.")


def _factor(epsilon: float) -> str:
    return "infinity" if epsilon > 700 else f"{math.exp(epsilon):.4g}"
