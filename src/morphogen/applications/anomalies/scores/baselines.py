"""Detectors without a model: a view of records, and a rule that is fitted to normal ones.

`OF_PICTURES` and `OF_ROWS` hold the usual ones, which every comparison shows, and `MORE_...` others that can be asked
for, among them those of the default (`detectors.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor

from morphogen.applications.anomalies.detector import Detector, checked
from morphogen.applications.anomalies.features.gradients import energy, gradients
from morphogen.applications.anomalies.features.views import Rows, picture_view, pixels
from morphogen.applications.anomalies.scores import distances
from morphogen.applications.anomalies.scores.distances import Rule, Scale
from morphogen.applications.anomalies.scores.planted_defects import PlantedDefects
from morphogen.applications.anomalies.scores.planted_rows import PlantedRows
from morphogen.applications.anomalies.scores.trimmed import Trimmed
from morphogen.core.rng import Noise
from morphogen.data import Records


def held_out(rule: Rule, v: Tensor, parts: list[Tensor], most: int) -> Tensor:
    """Fit a rule to vectors (N, D), and give the scores of at most `most` that it was not fitted to.

    `parts` are rows, parted at random. Each is left out once; where the first alone has `most` rows, it alone is.
    """
    found = []
    for k, part in enumerate(parts if len(parts[0]) < most else parts[:1]):
        rule.fit(v[torch.cat([other for j, other in enumerate(parts) if j != k])])
        found.append(rule.score(v[part[:most]]))
    rule.fit(v)
    return torch.cat(found).double()


@final
class PictureDistance(Detector):
    """A rule on a view of pictures."""

    def __init__(self, name: str, view: str, rule: Rule, is_baseline: bool = True) -> None:
        self.name, self.view, self.rule, self.is_baseline = name, view, rule, is_baseline

    def fit(self, reference: Records) -> None:
        self.rule.fit(picture_view(reference, self.view))

    def fit_and_hold_out(self, reference: Records, parts: list[Tensor], most: int, rng: Noise) -> Tensor:
        return held_out(self.rule, picture_view(reference, self.view), parts, most)

    def score(self, records: Records, rng: Noise) -> Tensor:
        return checked(self.rule.score(picture_view(records, self.view)), self.name, records)

    def maps(self, records: Records, rng: Noise) -> Tensor | None:
        """What the plane of the principal components leaves out of each pixel; None for other rules."""
        if not isinstance(self.rule, distances.Residual) or self.view not in ("pixels", "blurred"):
            return None
        left_out = self.rule.left_out(picture_view(records, self.view))
        return left_out.reshape(len(records), *records.spec.shape).square().sum(1)


@final
class RowDistance(Detector):
    """A rule on the rows of a table, or on vectors."""

    def __init__(self, name: str, rule: Rule, is_baseline: bool = True) -> None:
        self.name, self.rule, self.rows, self.is_baseline = name, rule, Rows(), is_baseline

    def fit(self, reference: Records) -> None:
        self.rule.fit(self.rows.fit(reference))

    def fit_and_hold_out(self, reference: Records, parts: list[Tensor], most: int, rng: Noise) -> Tensor:
        return held_out(self.rule, self.rows.fit(reference), parts, most)

    def score(self, records: Records, rng: Noise) -> Tensor:
        return checked(self.rule.score(self.rows(records)), self.name, records)


@final
class GradientEnergy(Detector):
    """How far the sharpness of a picture lies from that of normal ones: |log energy - median log energy|."""

    name, is_baseline = "gradient energy", True

    def fit(self, reference: Records) -> None:
        self.usual = float(self._log(reference).median())

    def score(self, records: Records, rng: Noise) -> Tensor:
        return checked((self._log(records) - self.usual).abs(), self.name, records)

    def maps(self, records: Records, rng: Noise) -> Tensor | None:
        """The square of the gradient at each pixel."""
        down, right = gradients(pixels(records.stored.cpu(), records.spec))
        return down.square() + right.square()

    @staticmethod
    def _log(records: Records) -> Tensor:
        found = [energy(pixels(part, records.spec)) for part in records.stored.cpu().split(4096)]
        return (torch.cat(found).double() + 1e-9).log()


Named = tuple[str, Callable[[], Detector]]


def _picture(name: str, view: str, rule: Callable[[], Rule], usual: bool = True) -> Named:
    return name, lambda: PictureDistance(name, view, rule(), usual)


def _row(name: str, rule: Callable[[], Rule], by: Scale = "range", usual: bool = True) -> Named:
    return name, lambda: RowDistance(name, distances.Scaled(rule(), by), usual)


def _local() -> Detector:
    return RowDistance("local neighbors", distances.Scaled(distances.LocalNeighbors()), is_baseline=False)


OF_PICTURES: Mapping[str, Callable[[], Detector]] = dict(
    [
        _picture("nearest pixels", "pixels", lambda: distances.Neighbors(1)),
        _picture("nearest blurred pixels", "blurred", lambda: distances.Neighbors(1)),
        _picture("principal components", "pixels", distances.Residual),
        _picture("isolation forest", "pixels", distances.Forest),
        _picture("neighbors of histograms", "histograms", lambda: distances.Neighbors(5)),
        _picture("neighbors of signed histograms", "signed", lambda: distances.Neighbors(5)),
        _picture("mahalanobis of histograms", "histograms", distances.Mahalanobis),
        ("gradient energy", GradientEnergy),
    ]
)
OF_ROWS: Mapping[str, Callable[[], Detector]] = dict(
    [
        _row("neighbors", lambda: distances.Neighbors(5)),
        _row("whitened neighbors", lambda: distances.WhitenedNeighbors(5)),
        _row("mahalanobis", distances.Mahalanobis),
        _row("principal components", distances.Residual),
        _row("isolation forest", distances.Forest),
    ]
)
MORE_OF_PICTURES: Mapping[str, Callable[[], Detector]] = dict(
    [
        _picture("local fine histograms", "fine", lambda: distances.LocalNeighbors(power=1.0), usual=False),
        _picture("local upright histograms", "upright", distances.LocalNeighbors, usual=False),
        _picture("principal bands", "bands", lambda: distances.PrincipalNeighbors(5), usual=False),
        ("planted defects", PlantedDefects),
        _picture("principal histograms", "signed", lambda: distances.PrincipalNeighbors(5), usual=False),
        _picture("neighbors of gradients", "gradients", lambda: distances.Neighbors(5), usual=False),
        _picture("neighbors of blurred pixels", "blurred", lambda: distances.Neighbors(5), usual=False),
    ]
)
MORE_OF_ROWS: Mapping[str, Callable[[], Detector]] = dict(
    [
        ("local neighbors", _local),
        _row("local quartiles", lambda: distances.LocalNeighbors(absolute=True), "quartiles", usual=False),
        ("column tails", lambda: RowDistance("column tails", distances.Tails(), is_baseline=False)),
        ("planted rows", PlantedRows),
        ("robust", lambda: Trimmed([OF_ROWS["isolation forest"](), OF_ROWS["mahalanobis"](), _local()])),
        _row("local ranks", lambda: distances.LocalNeighbors(power=1.0), "ranks", usual=False),
    ]
)
