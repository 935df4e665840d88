"""Shares of pictures with a property, if a prompt may have several pictures, and differences of shares.

For n pictures of m prompts, y_i in {0, 1} is the property; p = mean y. Pictures of one prompt tend to be right or
wrong together, so n counts for less than n independent pictures. With residuals summed by prompt, e_c = sum_{i in c}
(y_i - p), the ratio estimator's variance is

    v = m / (m - 1) sum_c e_c^2 / n^2,

and p is worth n' = p (1 - p) / v independent pictures (Kish, "Survey Sampling", 1965): at most n, and at least
n^2 / sum_c n_c^2, as if all pictures of a prompt were alike, which is assumed where p is 0 or 1 and so v = 0. The
interval is Wilson's (1927) at n' with Student's quantile for m - 1 degrees of freedom, in the manner of Korn and
Graubard, "Confidence intervals for proportions with small expected number of positive counts" (1998). Of prompts drawn
once each it is the exact one of Clopper and Pearson.

The difference of two shares over the same prompts is paired by Newcombe's square-and-add intervals ("Improved
confidence intervals for the difference between binomial proportions based on paired data", 1998, method 10 without its
correction), with the correlation r of the residuals by prompt: they stay in [-1, 1], and do not shrink to a point where
both shares are 0 or 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.theory.statistics.intervals import Estimate, binomial_interval, student_quantile


def share(holds: Tensor, prompt: Tensor) -> Estimate:
    """The mean of `holds` (n,), 0 or 1, with its 95 % interval; `prompt` (n,) int64 numbers the prompt of each.

    There is no interval where several pictures have one prompt in common and there is no other. Raises `DataError`
    without any picture.
    """
    n = len(holds)
    if not n:
        raise DataError("a share needs at least one picture; got none.")
    value = float(holds.double().mean())
    counts = prompt.unique(return_counts=True)[1].double()
    m = len(counts)
    if m == n:
        return Estimate(value, binomial_interval(round(value * n), n))
    if m < 2:
        return Estimate(value, None)
    least = n**2 / float(counts.square().sum())
    variance = m / (m - 1) * float(_residuals(holds, prompt).square().sum()) / n**2
    worth = value * (1.0 - value) / variance if variance > 0.0 else least
    return Estimate(value, _wilson(value, min(float(n), max(least, worth)), student_quantile(m - 1)))


def difference(a: Tensor, b: Tensor, prompt: Tensor) -> Estimate:
    """Share of `a` (n,) less that of `b` (n,), of the same prompts in the same order, with its 95 % interval."""
    ours, theirs = share(a, prompt), share(b, prompt)
    value = ours.value - theirs.value
    if ours.interval is None or theirs.interval is None:
        return Estimate(value, None)
    x, y = _residuals(a, prompt), _residuals(b, prompt)
    norms = math.sqrt(float(x.square().sum()) * float(y.square().sum()))
    r = float(x @ y) / norms if norms > 0.0 else 0.0

    def half(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2.0 * r * one * other + other**2))

    (low, high), (their_low, their_high) = ours.interval, theirs.interval
    down = half(ours.value - low, their_high - theirs.value)
    up = half(high - ours.value, theirs.value - their_low)
    return Estimate(value, (value - down, value + up))


def _residuals(holds: Tensor, prompt: Tensor) -> Tensor:
    """e_c (m,): the residuals of each prompt's pictures, summed."""
    names, number = prompt.unique(return_inverse=True)
    y = holds.double()
    return torch.zeros(len(names), dtype=torch.float64).index_add(0, number, y - y.mean())


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    """Each theta with (p - theta)^2 <= z^2 theta (1 - theta) / n."""
    middle = (p + z**2 / (2.0 * n)) / (1.0 + z**2 / n)
    half = z / (1.0 + z**2 / n) * math.sqrt(p * (1.0 - p) / n + z**2 / (4.0 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)
