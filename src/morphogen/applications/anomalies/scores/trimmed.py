"""Rows of which some are anomalous: the worst are left out before anything is learned.

Distances to neighbors fail where anomalies are among the known rows, for those have neighbors of their own kind. Two
scores see each row against few others, so that a group of anomalies seldom meets itself: an isolation forest, whose
trees draw 256 rows, and the mean distance to the nearest of 64 rows drawn at random, over 50 draws (Sugiyama and
Borgwardt, "Rapid distance-based outlier detection via sampling", 2013). The rows are ranked by each. Those with the
largest sum of the two ranks and the larger of them are left out, and an ensemble learns from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from morphogen.applications.anomalies.detector import Detector
from morphogen.applications.anomalies.features.views import Rows
from morphogen.applications.anomalies.scores.distances import Forest, Scaled
from morphogen.applications.anomalies.scores.ensemble import Ensemble
from morphogen.core.rng import Noise, Rng
from morphogen.data import Records
from morphogen.theory.statistics.surprise import FEWEST

LEFT_OUT = 0.3  # share of the known rows
DRAWS, DRAWN = 50, 64


@final
class SampledNearest:
    """The mean distance to the nearest of few known rows drawn at random, over many draws."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, v: Tensor) -> None:
        """Draw the rows."""
        rng = Rng(self.seed)
        self.draws = [v[rng.permutation("drawn", k, len(v))[:DRAWN]] for k in range(DRAWS)]

    def score(self, v: Tensor) -> Tensor:
        """The mean distance."""
        return torch.stack([torch.cdist(v, drawn).amin(1) for drawn in self.draws]).mean(0)


def cleaned(reference: Records, seed: int) -> Records:
    """The rows without the share `LEFT_OUT` that looks most anomalous among them; few rows stay as they are."""
    v, ranks = Rows().fit(reference), []
    for rule in (Scaled(Forest(seed)), Scaled(SampledNearest(seed))):
        rule.fit(v)
        ranks.append(rule.score(v).argsort().argsort())
    order = (ranks[0] + ranks[1] + torch.maximum(*ranks)).argsort(stable=True)
    kept = max(min(len(v), FEWEST), round((1.0 - LEFT_OUT) * len(v)))
    return reference.select(order[:kept].sort().values)


@final
class Trimmed(Detector):
    """An ensemble that learns from the cleaned rows."""

    name = "robust"

    def __init__(self, members: Sequence[Detector], seed: int = 0) -> None:
        self.ensemble, self.seed = Ensemble(members, seed), seed

    def fit(self, reference: Records) -> None:
        self.ensemble.fit(cleaned(reference, self.seed))

    def score(self, records: Records, rng: Noise) -> Tensor:
        return self.ensemble.score(records, rng)
