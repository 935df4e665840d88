"""Compare models: the better one of each pair, or that the data do not decide it.

All models are measured on the same records. Likelihoods are subtracted record by record. Distances have the same
reference, so its chance cancels: with T = F(a, r) - F(b, r), the jackknife leaves out a group of r from both terms at
once. For other metrics the two intervals are added as for independent values. This is never too narrow if the values
are positively correlated.

Every interval alone holds at 95 %: of twenty pairs of equal models about one is called different.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor

from morphogen.core.spec import Spec
from morphogen.evaluation.context.reference import Reference
from morphogen.evaluation.evaluation import AnyReference, Evaluation
from morphogen.evaluation.metrics.frechet import frechet_difference
from morphogen.evaluation.metrics.kernel import kid_difference
from morphogen.evaluation.metrics.metric import SampleSet
from morphogen.evaluation.result import Result, mean_interval
from morphogen.theory.statistics.intervals import Estimate


class Difference(Spec):
    """The value of model `a` minus that of model `b`, with its 95 % interval and the conclusion.

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


def differences(evaluations: Mapping[str, Evaluation], reference: AnyReference | None) -> list[Difference]:
    """Compare each pair of models on each metric that both have."""
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
    """The better model by the difference a - b, or that the interval does not decide."""
    if difference.interval is None:
        return "no interval"
    low, high = difference.interval
    if low <= 0.0 <= high:
        return "not distinguishable"
    return f"{a if (difference.value > 0.0) == (better == 'higher') else b} is better"


def _difference(
    one: Result, other: Result, a: Evaluation, b: Evaluation, reference: AnyReference | None
) -> tuple[Estimate, bool]:
    if one.name in a.values and one.name in b.values and len(a.values[one.name]) == len(b.values[one.name]):
        return _of_records(a.values[one.name] - b.values[one.name]), True
    if isinstance(reference, Reference) and isinstance(a.made, SampleSet) and isinstance(b.made, SampleSet):
        ours, theirs, real = a.made.features, b.made.features, reference.real.features
        if one.name.startswith("FD-"):
            return frechet_difference(ours, theirs, real), True
        if one.name.startswith("KID-"):
            return kid_difference(ours, theirs, real), True
    value = one.value - other.value
    if one.interval is None or other.interval is None:
        return Estimate(value, None), False
    # The half-widths that face each other, because intervals need not be symmetric.
    low = math.hypot(one.value - one.interval[0], other.interval[1] - other.value)
    high = math.hypot(one.interval[1] - one.value, other.value - other.interval[0])
    return Estimate(value, (value - low, value + high)), False


def _of_records(values: Tensor) -> Estimate:
    mean = float(values.mean())
    return Estimate(mean, mean_interval(mean, float(torch.std(values)), len(values)))
