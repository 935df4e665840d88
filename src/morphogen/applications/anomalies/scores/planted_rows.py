"""Rows against planted anomalies: trees that tell normal rows from changed copies of them.

Let p be the density of normal rows and q that of the planted ones, as many of each. The probability of "planted" that
separates them best is q / (p + q) (Hastie, Tibshirani and Friedman, "The elements of statistical learning", 2009,
14.2.4), so its log-odds is log q - log p: large where normal rows are rare and changed ones are not. The planted rows
are made from normal ones alone, in three ways:

    exchanged   each column, with probability 1/2, has the value of another row: breaks what columns have to do with
                each other
    replaced    each column, with probability 0.3, is uniform on its range and a tenth beyond
    shaken      every column has normal noise, between 1/20 and 1.5 of its standard deviation

The classifier is a forest of extremely randomized trees (Geurts, Ernst and Wehenkel, 2006), by scikit-learn.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from torch import Tensor

from morphogen.applications.anomalies.detector import Detector, checked
from morphogen.applications.anomalies.features.views import Rows
from morphogen.core.rng import Noise, Rng
from morphogen.data import Records

TREES, SMALLEST_LEAF = 100, 3
MOST = 3000  # normal rows that are learned from
_EXCHANGED, _REPLACED, _BEYOND = 0.5, 0.3, 0.1
_WEAK, _STRONG = 0.05, 1.5  # of the noise, in standard deviations
_ENOUGH = 50  # rows whose scores say what is usual
_SURE = 1e-4  # the odds of a forest that is sure are finite


def planted(v: Tensor, rng: Noise) -> Tensor:
    """(3 N, D) anomalies made from the rows v (N, D): exchanged, replaced and shaken ones."""
    n, columns = v.shape
    draw = {name: rng.uniform(name, n, (columns,), dtype=v.dtype) for name in ("order", "exchanged", "replaced", "in")}
    others = v.gather(0, draw["order"].argsort(0))  # each column in an order of its own
    low, high = v.amin(0), v.amax(0)
    wide = (high - low) * (1.0 + 2.0 * _BEYOND)
    anywhere = low - _BEYOND * (high - low) + wide * draw["in"]
    strength = rng.uniform("strength", n, (1,), dtype=v.dtype) * math.log(_STRONG / _WEAK) + math.log(_WEAK)
    noise = rng.normal("noise", n, (columns,), dtype=v.dtype) * v.std(0, correction=0) * strength.exp()
    exchanged = torch.where(draw["exchanged"] < _EXCHANGED, others, v)
    replaced = torch.where(draw["replaced"] < _REPLACED, anywhere, v)
    return torch.cat((exchanged, replaced, v + noise))


@final
class PlantedRows(Detector):
    """The log-odds of trees that a row is planted."""

    name = "planted rows"

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.rows = seed, Rows()

    def fit(self, reference: Records) -> None:
        from sklearn.ensemble import ExtraTreesClassifier  # a second to import

        rng = Rng(self.seed).child("planted rows")
        v = self.rows.fit(reference)
        usual = v[rng.permutation("learned", 0, len(v))[:MOST]]
        changed = planted(usual, rng)
        is_planted = np.repeat((0, 1), (len(usual), len(changed)))
        self.forest = ExtraTreesClassifier(
            TREES,
            min_samples_leaf=SMALLEST_LEAF,
            class_weight="balanced",
            random_state=self.seed,
        ).fit(torch.cat((usual, changed)).numpy(), is_planted)

    def fit_and_hold_out(self, reference: Records, parts: list[Tensor], most: int, rng: Noise) -> Tensor:
        """Each part is left out once; where the first alone has enough rows, it alone is."""
        found = []
        for k, part in enumerate(parts if len(parts[0]) < _ENOUGH else parts[:1]):
            self.fit(reference.select(torch.cat([other for j, other in enumerate(parts) if j != k])))
            found.append(self.score(reference.select(part[:most]), rng))
        self.fit(reference)
        return torch.cat(found)

    def score(self, records: Records, rng: Noise) -> Tensor:
        p = torch.from_numpy(self.forest.predict_proba(self.rows(records).numpy())[:, 1]).clamp(_SURE, 1.0 - _SURE)
        return checked((p / (1.0 - p)).log(), self.name, records)
