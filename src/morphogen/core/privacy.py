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
from typing import Annotated, Any, Protocol

import pydantic
from torch import Tensor

from morphogen.core.errors import ArtifactError, SpecError, unknown
from morphogen.core.spec import Spec

RECORD = "record"  # the unit where no column names another one
PUBLIC = ("parts", "ranges", "start")  # what a user may declare to be known about the records anyway


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


class PrivacyTerms(Spec):
    """What a private training is asked for, written as `epsilon=1,delta=1e-5,clip=1.0,unit=patient`."""

    epsilon: float = pydantic.Field(gt=0, le=1000, description="the most that all uses of the records cost together")
    delta: float = pydantic.Field(gt=0, lt=0.1, description="the probability with which the promise may fail")
    clip: float = pydantic.Field(1.0, gt=0, le=1e9, description="the largest norm of one unit's gradient")
    unit: str | None = pydantic.Field(None, description="the column whose values name the units; none: each record")
    copies: int = pydantic.Field(1, ge=1, le=64, description="how often a record is seen in a step, with other noise")
    moments: float = pydantic.Field(
        0.0, ge=0, le=0.9, description="share of the privacy for moments of classes, whose samples are learned first"
    )
    public: tuple[str, ...] = pydantic.Field((), description=f"what is public although it is not: {', '.join(PUBLIC)}")
    seeded: bool = pydantic.Field(False, description="draw the noise from the seed; the model is then not for release")

    @pydantic.field_validator("public")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in PUBLIC:
                raise ValueError(unknown("thing that can be taken as public", name, PUBLIC))
        return tuple(sorted(set(names)))

    def __str__(self) -> str:
        said = [f"epsilon={self.epsilon:g}", f"delta={self.delta:g}"]
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            if name in ("epsilon", "delta") or value == info.default:
                continue
            written = (
                "+".join(value)
                if isinstance(value, tuple)
                else f"{value:g}"
                if isinstance(value, float)
                else str(value)
            )
            said.append(name if value is True else f"{name}={written}")
        return ",".join(said)


def parse_privacy(given: Any) -> PrivacyTerms | None:
    """The terms in `epsilon=1,delta=1e-5,...` or in a mapping; None stays None. Raises `ValueError`."""
    if given is None or isinstance(given, PrivacyTerms):
        return given
    values: dict[str, Any]
    if isinstance(given, Mapping):
        values = dict(given)
    elif isinstance(given, str):
        pairs = [part.partition("=") for part in given.split(",") if part.strip()]
        values = {name.strip(): value.strip() if equals else True for name, equals, value in pairs}
        if len(values) < len(pairs):
            raise ValueError("each of epsilon, delta, clip, unit, copies, moments, public and seeded is said once")
    else:
        raise ValueError("write privacy as epsilon=1,delta=1e-5")
    if isinstance(values.get("public"), str):
        values["public"] = tuple(name for name in values["public"].split("+") if name)
    for name in values:
        if name not in PrivacyTerms.model_fields:
            raise ValueError(unknown("term", name, PrivacyTerms.model_fields))
    if missing := [name for name in ("epsilon", "delta") if name not in values]:
        raise ValueError(
            f"privacy needs epsilon and delta, as in epsilon=1,delta=1e-5 ({' and '.join(missing)} missing)"
        )
    try:
        return PrivacyTerms.parse(values)
    except SpecError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


def privacy_text(given: Any) -> Any:
    """The terms in their shortest form, for a recipe."""
    terms = parse_privacy(given)
    return None if terms is None else str(terms)


class Mechanism(Protocol):
    """How a family that is made of a few sums over all records learns them. Each use takes a share of the privacy.

    The shares of all uses add up to 1. Without privacy nothing is changed.
    """

    def gaussian(self, value: Tensor, sensitivity: float, share: float, what: str) -> Tensor:
        """`value`, of which one unit can change the Euclidean norm by `sensitivity`, with noise."""

    def choose(self, scores: Tensor, sensitivity: float, share: float, what: str) -> int:
        """The place of a large one of `scores` (K,), of which one unit can change each by `sensitivity`."""

    @property
    def noise(self) -> float:
        """The deviation of the noise of one use with all of the privacy, by its sensitivity; 0 without privacy."""

    @property
    def deviations(self) -> Mapping[str, float]:
        """The standard deviation of the noise of each use so far, by its name."""
