"""`Detector`: what gives records a score. A larger score is more anomalous."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Noise
from morphogen.data import Records


class Detector(ABC):
    """A score, fitted to normal records where it needs some.

    name        what it is called in tables and by `--score`
    is_baseline whether it is one of the usual scores that need no model
    learns      whether `fit` uses its records
    is_cheap    whether it may be fitted several times
    """

    name: str
    is_baseline: bool = False
    learns: bool = True
    is_cheap: bool = True

    @abstractmethod
    def fit(self, reference: Records) -> None:
        """Learn from normal records."""

    @abstractmethod
    def score(self, records: Records, rng: Noise) -> Tensor:
        """(N,) float64; noise is addressed by the row."""

    def maps(self, records: Records, rng: Noise) -> Tensor | None:
        """(N, H, W) >= 0, which pixels make the score large; None where the score is no sum over pixels."""
        return None


def checked(scores: Tensor, name: str, records: Records) -> Tensor:
    """The scores (N,) in float64 on the CPU. Raises `DataError` that names a record whose score is NaN."""
    found = scores.detach().double().cpu()
    bad = found.isnan().nonzero().flatten().tolist()
    if bad:
        raise DataError(
            f"the score {name!r} is NaN for {len(bad):,} of {len(found):,} records (the first is"
            f" {records.name(bad[0])}): leave them out, or take another score."
        )
    return found
