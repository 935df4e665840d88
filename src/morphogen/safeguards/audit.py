"""The frame of an audit: checks of one model, each of which measures, and says what must not be.

A check is a function of a `Subject`. It gives a `Finding`: results with intervals, what it had to leave out, and
violations, sentences about what must not be. A check that cannot be made leaves a reason, unless its caller named it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from morphogen.core.errors import MorphogenError, UsageError
from morphogen.core.family import Family
from morphogen.data import Dataset
from morphogen.evaluation.result import Result
from morphogen.theory.statistics.roc import Curve

MIN_RECORDS = 20  # of training and of held-out records


@dataclass(frozen=True)
class Subject:
    """A model and the records that it is judged by.

    split      the records that were not trained on
    n          how many training and how many held-out records are compared, at most
    samples    how many records the model draws; None: as many as training records, at most 2,000
    seed       of all noise and choices
    """

    family: Family
    dataset: Dataset
    split: str = "test"
    n: int = 1000
    samples: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises `UsageError` if the held-out records are the training records."""
        if self.split == "train":
            raise UsageError("an audit compares training records with others: give another split than 'train'.")

    @property
    def is_another(self) -> bool:
        """Whether these are known to be other data than the model was trained on; a private model does not tell."""
        known = self.family.data.fingerprint
        return known not in ("", self.dataset.spec.fingerprint)

    def about(self) -> dict[str, Any]:
        """What each result says of its data."""
        spec = self.dataset.spec
        return {
            "seed": self.seed,
            "data": f"{spec.source or spec.name} (train, {self.split})",
            "fingerprint": spec.fingerprint,
        }


@dataclass(frozen=True)
class Finding:
    """What a check found.

    results     numbers, each with its interval and its controls as baselines
    left_out    why a part of the check is missing, by the name of the part
    notes       what to know about the results
    violations  what must not be, a sentence each
    curves      rates of false and true positives, by the name of a result
    facts       further facts of the check, plain JSON
    """

    results: tuple[Result, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    violations: tuple[str, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


Check = Callable[[Subject], Finding]


def audit(subject: Subject, checks: Mapping[str, Check], named: bool) -> dict[str, Finding]:
    """The findings of all checks. One that cannot be made raises if the caller `named` the checks, or says why not."""
    found = {}
    for name, check in checks.items():
        try:
            found[name] = check(subject)
        except MorphogenError as error:
            if named:
                raise
            found[name] = Finding(left_out={name: str(error)})
    return found
