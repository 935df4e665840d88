"""`Detector`: what gives records a score. A larger score is more anomalous."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Noise
from morphogen.data import Records


class Detector(ABC):
    """A score, fitted to normal records where it needs some.

    name        what it is called in tables and by `--score`
    is_baseline whether it is one of the usual scores that need no model
    learns      whether `fit` uses its records
    """

    name: str
    is_baseline: bool = False
    learns: bool = True

    @abstractmethod
    def fit(self, reference: Records) -> None:
        """Learn from normal records."""

    def fit_and_hold_out(self, reference: Records, parts: list[Tensor], most: int, rng: Noise) -> Tensor:
        """Fit to all records, and give the scores of at most `most` of them that it was not fitted to.

        `parts` are their rows, parted at random. By default the first part is left out, and then learned, too.
        """
        if not self.learns:
            return self.score(reference.select(torch.cat([part[: most // len(parts)] for part in parts])), rng)
        self.fit(reference.select(torch.cat(parts[1:])))
        found = self.score(reference.select(parts[0][:most]), rng)
        self.fit(reference)
        return found

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
