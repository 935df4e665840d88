"""The receiver operating characteristic of scores: its area, and true positives at few false ones.

With scores u_1 .. u_n of positives and v_1 .. v_m of negatives, the area under the curve is the Mann-Whitney statistic

    A = 1/(n m) sum_ij [u_i > v_j] + 1/2 [u_i = v_j],

the chance that a positive ranks above a negative. Two variances are known:

    exchangeable   (n + m + 1) / (12 n m) if both have one distribution without ties (ties only lower it)
    at A           sum of the variances of the placements of either sample among the other (DeLong et al., 1988)

The second one is 0 at A = 1 and unsure near it, so the interval is that of `intervals.difference`: it holds 1/2 if and
only if the test of exchangeable scores does not reject at 5 %, and far from 1/2 it is -+ 1.96 DeLong's deviation, or
the first one where that is larger.

**True positives at a rate a of false ones.** Of m negatives floor(a m) may lie above the threshold; the threshold is
the next one. A positive counts if it lies above. Given the threshold the count is binomial, and its interval that of
Clopper and Pearson (1934). Where a m < 1 no negative may be above, and the rate is a bound for a smaller a.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate


class TruePositives(NamedTuple):
    """The share of positives above the threshold.

    found            with its exact interval
    asked            the rate of false positives that was asked for
    false_positives  that of the negatives that lie above, with its exact interval; at most `asked`
    p_value          the chance of so many if both kinds are exchangeable
    """

    found: Estimate
    asked: float
    false_positives: Estimate
    p_value: float


class Curve(NamedTuple):
    """Rates of false and of true positives (K,) at every threshold, from (0, 0) to (1, 1)."""

    false: Tensor
    true: Tensor


def auc(positives: Tensor, negatives: Tensor) -> Estimate:
    """P(a positive ranks above a negative), ties counting half, from scores (N,) and (M,), with its 95 % interval."""
    value, variance = auc_and_variance(positives, negatives)
    null = null_variance(len(positives), len(negatives))
    found = intervals.difference(value - 0.5, null, variance)
    assert found.interval is not None
    low, high = found.interval
    return Estimate(value, (max(0.0, 0.5 + low), min(1.0, 0.5 + high)))


def auc_and_variance(positives: Tensor, negatives: Tensor) -> tuple[float, float]:
    """The area, and DeLong's estimate of its variance. Raises `DataError` for no scores and for NaN."""
    above, below = _placements(positives, negatives), _placements(negatives, positives)
    variance = sum(float(v.var()) / len(v) if len(v) > 1 else 0.25 for v in (above, below))
    return float(above.mean()), variance


def null_variance(n: int, m: int) -> float:
    """The variance of the area of n and m exchangeable scores without ties."""
    return (n + m + 1) / (12.0 * n * m)


def auc_p_value(positives: Tensor, negatives: Tensor) -> float:
    """The one-sided p-value of the test that positives do not rank higher, by the normal approximation."""
    value = auc_and_variance(positives, negatives)[0]
    z = (value - 0.5) / math.sqrt(null_variance(len(positives), len(negatives)))
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def true_positives(positives: Tensor, negatives: Tensor, rate: float) -> TruePositives:
    """The share of positives (N,) found while at most a share `rate` of the negatives (M,) lies above the threshold.

    A positive that equals the threshold is not found.
    """
    if not 0.0 <= rate < 1.0:
        raise DataError(f"a rate of false positives lies from 0 to below 1 (got {rate:g}).")
    _check(positives, negatives)
    n, m = len(positives), len(negatives)
    allowed = math.floor(rate * m + 1e-9)
    threshold = negatives.sort(descending=True).values[allowed]
    hits, false = int((positives > threshold).sum()), int((negatives > threshold).sum())
    return TruePositives(
        Estimate(hits / n, intervals.binomial_interval(hits, n)),
        rate,
        Estimate(false / m, intervals.binomial_interval(false, m)),
        hits_p_value(hits, allowed, n, m),
    )


def hits_p_value(hits: int, allowed: int, n: int, m: int) -> float:
    """P(at least `hits` of n positives rank before the (allowed + 1)-th of m negatives) if all n + m are exchangeable.

    That is the chance of at most `allowed` negatives among the first hits + allowed.
    """
    if hits == 0:
        return 1.0
    first = hits + allowed
    at = torch.arange(max(0, first - n), min(allowed, first) + 1, dtype=torch.float64)

    def log_choose(size: int, k: Tensor) -> Tensor:
        return math.lgamma(size + 1) - torch.lgamma(k + 1) - torch.lgamma(size - k + 1)

    whole = log_choose(n + m, torch.tensor([first], dtype=torch.float64))
    return float((log_choose(m, at) + log_choose(n, first - at) - whole).exp().sum().clamp_max(1.0))


def curve(positives: Tensor, negatives: Tensor) -> Curve:
    """The curve of scores (N,) and (M,); equal scores are one step of it."""
    _check(positives, negatives)
    at = torch.cat((positives, negatives)).double().unique().flip(0)
    rates = []
    for scores in (negatives, positives):
        ordered = scores.double().sort().values
        above = len(ordered) - torch.searchsorted(ordered, at.contiguous())  # scores >= the threshold
        rates.append(torch.cat((torch.zeros(1, dtype=torch.float64), above.double().cpu() / len(ordered))))
    return Curve(*rates)


def _placements(x: Tensor, among: Tensor) -> Tensor:
    """The share of `among` (M,) below each x (N,), ties counting half."""
    _check(x, among)
    x, ordered = x.double(), among.double().sort().values
    below = torch.searchsorted(ordered, x) + torch.searchsorted(ordered, x, right=True)
    return below.double() / (2.0 * len(ordered))


def _check(*samples: Tensor) -> None:
    for scores in samples:
        if not len(scores) or bool(torch.isnan(scores).any()):
            raise DataError(
                f"scores of both kinds are needed, none of them NaN; got {len(scores)} of one kind,"
                f" {int(torch.isnan(scores).sum())} of them NaN."
            )
