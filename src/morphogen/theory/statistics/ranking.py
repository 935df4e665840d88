"""How well a score separates anomalies from normal records: areas under curves, and the rate at a rate.

With X the score of an anomaly and Y that of a normal record, larger for the more anomalous,

    AUROC = P(X > Y) + P(X = Y) / 2,

estimated by all pairs. With midranks, V_i = the share of normal records below anomaly i (ties half) and W_j = the share
of anomalies above normal record j, both have the mean A, and

    Var(A) ~ var(V) / n_1 + var(W) / n_0,

and likewise the covariance of two scores of the same records (DeLong, DeLong and Clarke-Pearson, 1988). The variances
are 0 where the classes are separated; the interval then is that of a share of min(n_1, n_0) records.

AUPR is the average precision, sum_k (R_k - R_{k-1}) P_k over the distinct thresholds, from the highest down; a constant
score has the share of anomalies. The true-positive rate at a false-positive rate r is the largest one among thresholds
at which at most r of the normal records are flagged.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.theory.statistics.intervals import Estimate, Z, binomial_interval


class Separation(NamedTuple):
    """The area under the receiver operating characteristic, the average precision, the rate of found anomalies."""

    auroc: Estimate
    aupr: float
    found: float


def separation(scores: Tensor, anomalous: Tensor, false_alarms: float = 0.05) -> Separation:
    """What a score separates.

    Args:
        scores: (N,) larger for the more anomalous.
        anomalous: (N,) bool.
        false_alarms: the rate of false alarms at which anomalies are counted.

    Returns:
        AUROC with its 95 % interval; AUPR; the share of anomalies that are found at that rate.

    Raises:
        DataError: there are no anomalies, or no normal records.
    """
    value, v, w = _placements(scores, anomalous)
    return Separation(
        _interval(value, float(_variance(v, w)), min(len(v), len(w))),
        average_precision(scores, anomalous),
        found_at(scores, anomalous, false_alarms),
    )


def auroc_difference(ours: Tensor, theirs: Tensor, anomalous: Tensor) -> Estimate:
    """The AUROC of `ours` (N,) less that of `theirs` (N,), of the same records, with its 95 % interval."""
    a, v, w = _placements(ours, anomalous)
    b, v_b, w_b = _placements(theirs, anomalous)
    half = Z * math.sqrt(float(_variance(v - v_b, w - w_b)))
    return Estimate(a - b, (a - b - half, a - b + half))


def average_precision(scores: Tensor, anomalous: Tensor) -> float:
    """The average precision."""
    positives, flagged = _counts(scores, anomalous)
    steps = positives.diff(prepend=positives.new_zeros(1)) / positives[-1]
    return float((steps * positives / flagged).sum())


def found_at(scores: Tensor, anomalous: Tensor, false_alarms: float) -> float:
    """The largest share of anomalies that is found where at most `false_alarms` of the normal records are flagged."""
    positives, flagged = _counts(scores, anomalous)
    false = (flagged - positives) / (len(scores) - positives[-1])
    allowed = positives[false <= false_alarms]
    return float(allowed[-1] / positives[-1]) if len(allowed) else 0.0


def _counts(scores: Tensor, anomalous: Tensor) -> tuple[Tensor, Tensor]:
    """For each distinct threshold, from the highest down: how many anomalies, and how many records, reach it."""
    _both(anomalous)
    ordered, place = scores.double().sort(descending=True)
    last = torch.cat((ordered.diff() != 0, torch.tensor([True], device=ordered.device)))  # of a run of equal scores
    positives = anomalous[place].double().cumsum(0)
    return positives[last], torch.arange(1, len(scores) + 1, dtype=torch.float64, device=ordered.device)[last]


def _placements(scores: Tensor, anomalous: Tensor) -> tuple[float, Tensor, Tensor]:
    """A, V (n_1,) and W (n_0,)."""
    _both(anomalous)
    scores = scores.double()
    x, y = scores[anomalous].contiguous(), scores[~anomalous].contiguous()
    v, w = _below(x, y), 1.0 - _below(y, x)
    return float(v.mean()), v, w


def _below(of: Tensor, among: Tensor) -> Tensor:
    """The share of `among` below each of `of`, ties half."""
    ordered = among.sort().values
    left, right = torch.searchsorted(ordered, of), torch.searchsorted(ordered, of, right=True)
    return (left + right).double() / (2.0 * len(ordered))


def _variance(v: Tensor, w: Tensor) -> Tensor:
    return sum((x.var() / len(x) if len(x) > 1 else x.new_tensor(0.25) for x in (v, w)), torch.tensor(0.0))


def _interval(value: float, variance: float, n: int) -> Estimate:
    """On the scale of log A / (1 - A), so that it stays in [0, 1]."""
    if value in (0.0, 1.0) or variance == 0.0:
        return Estimate(value, binomial_interval(round(value * n), n))
    half = Z * math.sqrt(variance) / (value * (1.0 - value))
    center = math.log(value / (1.0 - value))
    low, high = (1.0 / (1.0 + math.exp(-(center + s * half))) for s in (-1.0, 1.0))
    return Estimate(value, (low, high))


def _both(anomalous: Tensor) -> None:
    count = int(anomalous.sum())
    if not 0 < count < len(anomalous):
        raise DataError(
            f"separation needs anomalies and normal records; of {len(anomalous):,} records {count:,} are anomalies."
        )
