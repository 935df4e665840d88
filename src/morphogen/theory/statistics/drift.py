"""Whether a batch is still exchangeable with the calibration records, apart from its anomalies.

Conformal p-values hold for records that are drawn like the calibration records. A change of camera, season or supplier
shifts all scores, not only those of anomalies. Anomalies lie in the upper tail, so the lower part is compared: with c
the scores' quantile of rank k among the n calibration records, C_(k), the k - 1 calibration scores below it and the
scores of the batch below it are independent draws from one distribution, given c, if nothing has drifted. The
two-sample statistic of Kolmogorov and Smirnov of these two has a known law (by its limit; ties make it conservative).

A batch whose scores nearly all lie above c leaves nothing to compare. The share above c has a known law too: it
is beta-binomial. More of them may be anomalies or drift, so that is said and not tested.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

UPPER = 0.2  # the share of the calibration scores that is left out: where anomalies lie
FEWEST = 20  # scores of either sample below c


class Drift(NamedTuple):
    """The result of the test.

    p_value    the chance of so large a difference below c without a drift; None if too few scores lie there
    distance   the largest difference of both distribution functions below c
    above      the share of the batch above c, 20 % in the mean without anomalies and drift
    compared   how many scores of the batch lie below c
    """

    p_value: float | None
    distance: float
    above: float
    compared: int


def drift(calibration: Tensor, scores: Tensor) -> Drift:
    """Compare the scores (m,) of a batch with those (n,) of calibration records."""
    ordered = calibration.double().sort().values
    k = len(ordered) - int(UPPER * len(ordered))
    c = ordered[k - 1]
    known, seen = ordered[: k - 1], scores.double()
    seen = seen[seen < c].sort().values
    above = 1.0 - len(seen) / max(1, len(scores))
    if min(len(known), len(seen)) < FEWEST:
        return Drift(None, float("nan"), above, len(seen))
    at = torch.cat((known, seen))
    below = [torch.searchsorted(x, at, right=True).double() / len(x) for x in (known, seen)]
    distance = float((below[0] - below[1]).abs().max())
    return Drift(kolmogorov(distance, len(known), len(seen)), distance, above, len(seen))


def kolmogorov(distance: float, n: int, m: int) -> float:
    """P(D >= distance) of two samples of n and m values of one continuous distribution.

    2 sum_j (-1)^(j-1) exp(-2 j^2 z^2), z = (e + 0.12 + 0.11 / e) distance, e^2 = n m / (n + m) (Stephens, 1970).
    """
    e = math.sqrt(n * m / (n + m))
    z = (e + 0.12 + 0.11 / e) * distance
    if z < 0.2:  # the series needs many terms there, and its sum is 1
        return 1.0
    return min(1.0, max(0.0, 2.0 * sum((-1.0) ** (j - 1) * math.exp(-2.0 * (j * z) ** 2) for j in range(1, 101))))
