"""Which of several models is better, and whether that can be told.

All are measured against the same records, so differences are taken record by record: a model's likelihoods less
another's, and distances to one reference, whose own chance then cancels. With T = F(a, r) - F(b, r),
the jackknife leaves out a group of r from both terms at once. Of other metrics the intervals of both are
added as of independent values, which is never too narrow where they rise and fall together.

Every interval holds at 95 % by itself: of twenty pairs of equal models one is called different.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from morphogen.core.spec import Spec
from morphogen.evaluation.context.reference import Reference
from morphogen.evaluation.evaluation import Evaluation
from morphogen.evaluation.metrics.frechet import frechet_difference
from morphogen.evaluation.metrics.kernel import kid_difference
from morphogen.evaluation.result import Result, mean_interval
from morphogen.theory.statistics.intervals import Estimate


class Difference(Spec):
    """One measure of model `a` less that of model `b`, with its 95 % interval and what follows from it.

    Example:
        >>> compared = mg.compare(["runs/first", "runs/second"], "digits", ["nll"])
        >>> compared.differences[0].interval
    """

    metric: str
    a: str
    b: str
    value: float
    interval: tuple[float, float] | None
    paired: bool
    verdict: str


def differences(evaluations: Mapping[str, Evaluation], reference: Reference | None) -> list[Difference]:
    """Each pair of models on each metric that both were measured with."""
    found = []
    for (a, one), (b, other) in combinations(evaluations.items(), 2):
        theirs = {result.name: result for result in other.results}
        for result in one.results:
            if result.name in theirs:
                estimate, paired = _difference(result, theirs[result.name], one, other, reference)
                found.append(
                    Difference(
                        metric=result.name,
                        a=a,
                        b=b,
                        value=estimate.value,
                        interval=estimate.interval,
                        paired=paired,
                        verdict=verdict(a, b, estimate, result.better),
                    )
                )
    return found


def verdict(a: str, b: str, difference: Estimate, better: str) -> str:
    """Who is better by a difference a - b, or that it cannot be told."""
    if difference.interval is None:
        return "no interval"
    low, high = difference.interval
    if low <= 0.0 <= high:
        return "not distinguishable"
    return f"{a if (difference.value > 0.0) == (better == 'higher') else b} is better"


def _difference(
    one: Result, other: Result, a: Evaluation, b: Evaluation, reference: Reference | None
) -> tuple[Estimate, bool]:
    if one.name in a.values and one.name in b.values and len(a.values[one.name]) == len(b.values[one.name]):
        return _of_records(a.values[one.name] - b.values[one.name]), True
    if reference is not None and a.made is not None and b.made is not None:
        ours, theirs, real = a.made.features, b.made.features, reference.real.features
        if one.name.startswith("FD-"):
            return frechet_difference(ours, theirs, real), True
        if one.name.startswith("KID-"):
            return kid_difference(ours, theirs, real), True
    value = one.value - other.value
    if one.interval is None or other.interval is None:
        return Estimate(value, None), False
    # Half-widths towards each other: intervals need not be symmetric.
    low = math.hypot(one.value - one.interval[0], other.interval[1] - other.value)
    high = math.hypot(one.interval[1] - one.value, other.value - other.interval[0])
    return Estimate(value, (value - low, value + high)), False


def _of_records(values: Tensor) -> Estimate:
    mean = float(values.mean())
    return Estimate(mean, mean_interval(mean, float(torch.std(values)), len(values)))
