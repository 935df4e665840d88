"""Anomalies among records, with a guarantee about false alarms."""

from __future__ import annotations

import numpy as np
import torch

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results.detections import Detections
from morphogen.api.results.shown import warn_of
from morphogen.applications.anomalies import detectors
from morphogen.applications.anomalies.detection import SHOWN, Asked, Found
from morphogen.applications.anomalies.detection import detect as find
from morphogen.applications.anomalies.judging import Promise
from morphogen.applications.anomalies.known import known_anomalies
from morphogen.applications.anomalies.material import Material, bare, judged_records, name_of, normal_records, parted
from morphogen.core.chunks import limited
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.core.limits import check_numbers
from morphogen.data import Records
from morphogen.data.in_memory import AnyData
from morphogen.theory.statistics import conformal
from morphogen.theory.statistics.discoveries import adjusted


@limited
def detect(
    model: AnyModel | None,
    data: AnyData,
    *,
    normal: AnyData | None = None,
    reference: AnyData | None = None,
    split: str | None = None,
    alpha: float = 0.05,
    confidence: float | None = None,
    discoveries: bool = False,
    score: str = detectors.DEFAULT,
    compare: bool = False,
    known: str | np.ndarray | None = None,
    window: int | None = None,
    maps: int = SHOWN,
    seed: int = 0,
    device: str | None = None,
    batch_size: int | None = None,
) -> Detections:
    """Give each record a score, a p-value and perhaps an alarm.

    p = (1 + #{calibration records that score at least as high}) / (n + 1), so a normal record has p <= alpha with
    probability of at most alpha (Vovk, Gammerman and Shafer, 2005; Bates et al., 2023).

    Args:
        model: a held model of normal records, or the path of its directory; None: scores that need no model.
        data: the records to judge, prepared as the model's data were.
        normal: normal records that the model was not trained on; None takes the calibration split of the model's own
            data (`SOURCE:calibration=0.1`).
        reference: normal records that scores learn from; None: the model's training records, or half of `normal`.
        split: of `data`; None takes all records, and of the model's own data the test split.
        alpha: the rate of false alarms among normal records.
        confidence: keep the rate with this probability over the draw of calibration records; None: in the mean.
        discoveries: control the share of false alarms among all alarms instead (Benjamini and Hochberg, 1995).
        score: a name such as "reconstruction" or "neighbors of histograms", several joined by +, or "default".
        compare: judge by every other score, too, and by the baselines.
        known: which records are anomalies: (n,) bool, the names of classes joined by commas, or COLUMN=VALUE. Scores
            are then measured by how well they separate them.
        window: the side in pixels of overlapping windows, for pictures larger than the model's.
        maps: how many of the most anomalous records the result holds, with their maps.
        seed: where the noise starts.
        device: where to compute; None leaves a held model where it is.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The scores, p-values and alarms, and the rate of false alarms that further normal records show.

    Raises:
        UsageError: no normal records, too few of them for an alarm at `alpha`, or an unknown score.
        CapabilityError: no score fits these records and this model.
        DataError: records that do not fit the model, or that all were trained on.

    Example:
        >>> found = mg.detect(None, "digits", normal="digits:only=3", known="0,1,2,4,5,6,7,8,9")
        >>> found.compared[0].separation.auroc.value > 0.9
        True
    """
    check_numbers(seed=seed, window=window, maps=maps)
    promise = Promise(alpha, confidence, discoveries)
    family = None if model is None else open_model(model, device).module
    described = None if family is None else family.data
    usual = normal_records(described, normal, reference, window)
    own = described.source if described is not None else usual.spec.source
    like = bare(described) if described is not None else usual.spec
    judged = judged_records(data, like, own, split, window)
    learns = compare or detectors.detector(score, judged.spec, family).learns
    fewest = conformal.fewest(alpha, confidence)
    material = parted(usual, judged, learns, fewest, seed, name_of(data))
    marks = _marks(data, known, judged, None if window else like)
    found = find(material, family, Asked(promise, score, compare, window, maps, seed), marks)
    return _result(found, material, promise, maps)


def _marks(
    data: AnyData, known: str | np.ndarray | None, judged: Records, like: DataSpec | None
) -> torch.Tensor | None:
    """(n,) bool, or None. Raises `DataError` for another number of marks than of records."""
    if known is None:
        return None
    if isinstance(known, str):
        return known_anomalies(data, known, judged, like)
    marks = torch.as_tensor(np.asarray(known)).bool()
    if marks.shape != (len(judged),):
        raise DataError(f"expected {len(judged):,} marks of anomalies, one a record, got {tuple(marks.shape)}.")
    return marks


def _result(found: Found, material: Material, promise: Promise, maps: int) -> Detections:
    judged, records = found.judged, material.judged
    return Detections(
        ids=records.names if records.names is not None else records.ids.numpy(),
        scores=judged.scores.numpy(),
        p_values=judged.p_values.numpy(),
        adjusted=adjusted(judged.p_values).numpy(),
        alarms=judged.alarms.numpy(),
        alpha=promise.alpha,
        score=judged.name,
        calibration=found.calibration.numpy(),
        realized=found.realized,
        drift=judged.drift.p_value,
        order=found.order.numpy(),
        x=records.stored[found.order[:maps]].numpy(),
        maps=None if found.maps is None else found.maps.numpy(),
        spec=records.spec,
        discoveries=promise.discoveries,
        confidence=promise.confidence,
        compared=found.compared,
        others={other.name: other.alarms.numpy() for other in found.others},
        warnings=warn_of(found.notes),
    )
