"""Conformal p-values: how often would a normal record score so high?

Let C_1 .. C_n be the scores of calibration records, S that of a new one, and larger mean more anomalous. If the n + 1
records are exchangeable (normal, and drawn alike), every rank of S among them is equally likely. Hence

    p = (1 + #{i: C_i >= S}) / (n + 1),      P(p <= alpha) <= alpha   for every alpha

(Vovk, Gammerman and Shafer, "Algorithmic learning in a random world", 2005; Bates, Candes, Lei, Romano and Sesia,
"Testing for outliers with conformal p-values", 2023). The 1 accounts for the noise of the calibration records. With
ties p is too large. With U uniform on (0, 1),

    p = (#{C_i > S} + U (1 + #{C_i = S})) / (n + 1)

is exactly uniform on (0, 1).

The statement is about the mean over draws of the calibration records. For one draw of scores without ties, an alarm at
p <= alpha has the rate F ~ Beta(k, n + 1 - k) with k = floor(alpha (n + 1)), so the number of alarms among m further
normal records is beta-binomial,

    P(A = a) = (m choose a) B(k + a, n + 1 - k + m - a) / B(k, n + 1 - k).

P(F <= alpha) = P(Binomial(n, alpha) >= k). The largest k for which that is at least 1 - delta gives a level k / (n + 1)
whose rate is at most alpha with confidence 1 - delta over the draw of the calibration records (Wilks, 1941).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.theory.statistics.intervals import LEVEL, binomial_tail


def p_values(calibration: Tensor, scores: Tensor, uniform: Tensor | None = None) -> Tensor:
    """The conformal p-value of each score.

    Args:
        calibration: (n,) scores of normal records that nothing was fitted to; larger is more anomalous.
        scores: (m,) scores to judge.
        uniform: (m,) uniform on (0, 1), which breaks ties, so that p is exactly uniform; None: p is at least that.

    Returns:
        (m,) float64 in (0, 1].

    Raises:
        DataError: no calibration record, or scores that are NaN.
    """
    if not len(calibration):
        raise DataError("p-values need calibration records: normal ones that the model was not trained on.")
    if calibration.isnan().any() or scores.isnan().any():
        raise DataError("a score is NaN, so it has no rank: find the record that it belongs to.")
    ordered, n = calibration.double().sort().values, len(calibration)
    scores = scores.double().contiguous()
    reached = (n - torch.searchsorted(ordered, scores)).double()  # #{C >= S}
    if uniform is None:
        return (1.0 + reached) / (n + 1.0)
    above = n - torch.searchsorted(ordered, scores, right=True)
    return (above + uniform.double() * (1.0 + reached - above)) / (n + 1.0)


def level(n: int, alpha: float, confidence: float | None = None) -> float:
    """The level at which a p-value raises an alarm.

    Args:
        n: the number of calibration records.
        alpha: the wanted rate of false alarms.
        confidence: the wanted probability, over the draw of the calibration records, that the rate is at most `alpha`;
            None: the rate is at most `alpha` in the mean over these draws.

    Returns:
        k / (n + 1), or 0 where so few records allow no alarm.
    """
    k = math.floor(alpha * (n + 1) * (1.0 + 1e-12))
    if confidence is not None:
        while k > 0 and binomial_tail(k, n, alpha) < confidence:
            k -= 1
    return k / (n + 1)


def fewest(alpha: float, confidence: float | None = None) -> int:
    """The smallest number of calibration records at which an alarm is possible."""
    if confidence is None:
        return math.ceil(1.0 / alpha - 1.0 - 1e-9)
    return math.ceil(math.log1p(-confidence) / math.log1p(-alpha) - 1e-9)


def alarm_masses(n: int, m: int, at: float) -> Tensor:
    """P(A = a), a = 0 .. m, of the alarms at level k / (n + 1) = `at` among m normal records; (m + 1,) float64."""
    k = round(at * (n + 1))
    if not 0 < k < n + 1:
        return torch.nn.functional.one_hot(torch.tensor(0 if k <= 0 else m), m + 1).double()
    a = torch.arange(m + 1, dtype=torch.float64)
    choose = math.lgamma(m + 1) - torch.lgamma(a + 1) - torch.lgamma(m - a + 1)
    log_beta = torch.lgamma(k + a) + torch.lgamma(n + 1 - k + m - a) - math.lgamma(n + 1 + m)
    own = math.lgamma(k) + math.lgamma(n + 1 - k) - math.lgamma(n + 1)
    return (choose + log_beta - own).exp()


def alarm_interval(n: int, m: int, at: float, share: float = LEVEL) -> tuple[int, int]:
    """The central interval that holds the alarms among m normal records with probability of at least `share`."""
    below = alarm_masses(n, m, at).cumsum(0)
    half = 0.5 * (1.0 - share)
    low = int(torch.searchsorted(below, torch.tensor(half, dtype=torch.float64), right=True))
    high = int(torch.searchsorted(below, torch.tensor(1.0 - half, dtype=torch.float64)))
    return min(low, m), min(high, m)
