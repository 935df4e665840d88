"""Several detectors as one, by the sum of their surprises (`theory/statistics/surprise.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from morphogen.applications.anomalies.detector import Detector
from morphogen.core.errors import DataError
from morphogen.core.rng import Noise, Rng
from morphogen.data import Records
from morphogen.theory.statistics.surprise import FEWEST, Surprise

FOLDS = 5
SCALED_BY = 1000  # normal records that bring scores to one scale


@final
class Ensemble(Detector):
    """The sum of the surprises of several detectors.

    The scale of each comes from its scores of normal records that it was not fitted to: five times a fifth is left
    out, or once if that is enough. After that each is fitted to all of them. A detector that learns nothing beside its
    model scores them as they are.
    """

    def __init__(self, members: Sequence[Detector], seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.members, self.seed, self.device = tuple(members), seed, device
        self.name = " + ".join(member.name for member in self.members)
        self.surprises: list[Surprise] = []

    def fit(self, reference: Records) -> None:
        if len(reference) < FEWEST:
            raise DataError(
                f"several scores are brought to one scale by at least {FEWEST} normal records, and there are"
                f" {len(reference)}: give more, or take one score."
            )
        rng = Rng(self.seed, self.device)
        order = rng.permutation("scale", 0, len(reference))
        parts = list(order.tensor_split(FOLDS))
        self.surprises = []
        for member in self.members:
            self.surprises.append(Surprise(member.fit_and_hold_out(reference, parts, SCALED_BY, rng.child("scale"))))

    def score(self, records: Records, rng: Noise) -> Tensor:
        found = [
            surprise(member.score(records, rng)) for member, surprise in zip(self.members, self.surprises, strict=True)
        ]
        return torch.stack(found).sum(0)

    def maps(self, records: Records, rng: Noise) -> Tensor | None:
        """The sum of the members' maps, each divided by its mean; None where none has one."""
        found = [maps for member in self.members if (maps := member.maps(records, rng)) is not None]
        scaled = [maps / maps.mean().clamp_min(1e-12) for maps in found]
        return torch.stack(scaled).sum(0) if scaled else None
