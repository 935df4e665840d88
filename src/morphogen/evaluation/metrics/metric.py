"""A metric of generated records: its name, its better direction, and its measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from morphogen.evaluation.features.extraction import Features
from morphogen.theory.statistics.intervals import Estimate
from morphogen.theory.statistics.neighbors import Neighborhoods, neighborhoods

if TYPE_CHECKING:
    from morphogen.evaluation.context.reference import Reference

Measured = tuple[Estimate, Mapping[str, Any]]


class SampleSet:
    """A set of records in the form for metrics, with their features.

    judged  (N, *shape): pictures as bytes, other records as x
    labels  (N,) the classes of the conditions, or None
    places  (N,) the place of each record in the caller's order; None if the order is the same
    """

    def __init__(
        self, judged: Tensor, through: Features, labels: Tensor | None = None, places: Tensor | None = None
    ) -> None:
        self.judged, self.labels, self.places, self._through = judged, labels, places, through
        self._neighborhoods: dict[int, Neighborhoods] = {}

    def __len__(self) -> int:
        return len(self.judged)

    def place(self, row: int) -> int:
        """The place of the record of this row in the caller's order."""
        return row if self.places is None else int(self.places[row])

    @cached_property
    def features(self) -> Tensor:
        return self._through.of(self.judged)

    @cached_property
    def classes(self) -> Tensor | None:
        """The classes of the records by the network's classifier, if it has the classes of the data."""
        return self._through.classify(self.features)

    def neighborhoods(self, reference: SampleSet) -> Neighborhoods:
        """Precision, recall, density and coverage against the reference, computed together."""
        if id(reference) not in self._neighborhoods:
            self._neighborhoods[id(reference)] = neighborhoods(self.features, reference.features)
        return self._neighborhoods[id(reference)]


@dataclass(frozen=True)
class SampleMetric:
    """Compares generated records with a reference.

    name      the name in calls; the result is called `title` and the network's name, such as "FD-mnist-1a2b"
    measure   returns the estimate and further numbers. Raises a `MorphogenError` if the data do not allow it
    placed    whether values are placed on the ladder of degradations
    scaled    whether there are baselines and a floor
    interval_of  what the interval is, and which records are drawn anew if not those of both sides
    """

    name: str
    title: str
    what: str
    measure: Callable[[SampleSet, Reference], Measured]
    better: Literal["lower", "higher"] = "lower"
    unit: str = ""
    placed: bool = False
    scaled: bool = True
    interval_of: str = "95 % interval"
