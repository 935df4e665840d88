"""Detect anomalies: score records, measure what is normal by calibration records, raise alarms, and check them."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from morphogen.applications.anomalies import detectors
from morphogen.applications.anomalies.detector import Detector
from morphogen.applications.anomalies.judging import Compared, Judged, Promise, Realized, compare, judge, realized
from morphogen.applications.anomalies.material import Material
from morphogen.applications.anomalies.windows import Windowed
from morphogen.core.errors import DataError
from morphogen.core.family import Family
from morphogen.core.rng import Rng
from morphogen.theory.statistics import conformal
from morphogen.theory.statistics.drift import Drift

DRIFTED = 0.01  # p-value of the test of drift below which it is said
SHOWN = 24  # records with maps


@dataclass(frozen=True)
class Asked:
    """What is asked of a detection.

    score    a name, several joined by +, or "default"
    compare  also every other score, with the baselines
    maps     how many of the most anomalous records have maps
    window   the side of windows in pixels, for pictures that are larger than a detector knows; None: whole pictures
    """

    promise: Promise = field(default_factory=Promise)
    score: str = detectors.DEFAULT
    compare: bool = False
    window: int | None = None
    maps: int = SHOWN
    seed: int = 0


@dataclass(frozen=True)
class Found:
    """What a detection found.

    order    the rows of the judged records, the most anomalous first
    maps     (K, H, W) of the first K of `order`, or None
    others   the other scores, judged alike; compared: how well each separates known anomalies
    """

    judged: Judged
    calibration: Tensor
    realized: Realized | None
    order: Tensor
    maps: Tensor | None
    others: tuple[Judged, ...]
    compared: tuple[Compared, ...]
    notes: tuple[str, ...]


def make(asked: str, window: int | None, material: Material, family: Family | None, seed: int) -> Detector:
    """The detector of a name, fitted."""
    known = (material.reference or material.calibration).spec
    side = window if window is not None else None
    spec = known if side is None else known.replace(shape=(known.shape[0], side, side))
    found = detectors.detector(asked, spec, family, seed)
    found = found if side is None else Windowed(found, side)
    if found.learns:
        if material.reference is None or not len(material.reference):
            raise DataError(f"the score {found.name!r} learns from normal records, and there are none: give more.")
        found.fit(material.reference)
    return found


def detect(material: Material, family: Family | None, asked: Asked, known: Tensor | None = None) -> Found:
    """Judge records; `known` (N,) bool says which are anomalies, where that is known."""
    rng = Rng(asked.seed, "cpu" if family is None else family.device)
    chosen = make(asked.score, asked.window, material, family, asked.seed)
    calibration = chosen.score(material.calibration, rng.child("calibration"))
    scores = chosen.score(material.judged, rng.child("judged"))
    found = judge(chosen.name, asked.promise, calibration, scores)
    checked = None
    if material.further is not None:
        checked = realized(asked.promise, calibration, chosen.score(material.further, rng.child("further")))
    order = scores.argsort(descending=True, stable=True)
    maps = chosen.maps(material.judged.select(order[: asked.maps]), rng.child("maps")) if len(order) else None
    others, all_scores = [], {found.name: (scores, chosen.is_baseline)}
    for name in _others(material, family, asked, chosen.name):
        one = make(name, asked.window, material, family, asked.seed)
        theirs = one.score(material.judged, rng.child("judged"))
        all_scores[name] = (theirs, one.is_baseline)
        others.append(judge(name, asked.promise, one.score(material.calibration, rng.child("calibration")), theirs))
    compared = () if known is None else compare(all_scores, known)
    notes = (*material.notes, *_notes(asked.promise, len(calibration), found, checked))
    return Found(found, calibration, checked, order, maps, tuple(others), compared, notes)


def _others(material: Material, family: Family | None, asked: Asked, chosen: str) -> list[str]:
    spec = material.judged.spec
    names = [*detectors.baselines(spec), *detectors.of_family(family)] if asked.compare else []
    return [name for name in names if name != chosen]


def _notes(promise: Promise, n: int, judged: Judged, checked: Realized | None) -> list[str]:
    found = []
    if promise.discoveries and conformal.fewest(promise.alpha) > n:
        found.append(f"{n:,} calibration records allow alarms only where many records are anomalous")
    if checked is not None and not checked.is_kept:
        found.append(
            f"{checked.alarms:,} of {checked.n:,} further normal records raised an alarm, more than"
            f" {checked.expected[1]:.1%}: they are not drawn like the calibration records"
        )
    return found + _drift_notes(judged.drift)


def _drift_notes(found: Drift) -> list[str]:
    if found.p_value is not None and found.p_value < DRIFTED:
        return [
            f"drift: the lower scores of this batch differ from those of the calibration records (p ="
            f" {found.p_value:.2g}), so p-values may not hold: calibrate with normal records drawn as this batch is"
        ]
    if found.p_value is None and found.compared == 0 and found.above > 0.0:
        return ["every score lies in the upper fifth of the normal ones: either all are anomalies, or the data drifted"]
    return []
