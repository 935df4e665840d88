"""The energy distance of two samples, and a test whether one sample is closer to data than another.

For two distributions (Szekely and Rizzo, "Energy statistics", 2013),

    E(P, Q) = 2 E|X - Y| - E|X - X'| - E|Y - Y'| >= 0,   with equality only for P = Q,

needs only samples. The estimate leaves out the distance of each sample to itself, so it is unbiased (and may be
negative). Permutations of the pooled samples give its null distribution, so the test is exact at any sample size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.rng import Noise, Rng


class PermutationResult(NamedTuple):
    """A p-value (the chance of a statistic this large under the null hypothesis) and the statistic."""

    p_value: float
    statistic: float


def closer_test(a: Tensor, b: Tensor, data: Tensor, rng: Noise, permutations: int = 999) -> PermutationResult:
    """Test whether samples `a` (n, *shape) are closer to `data` (k, *shape) than samples `b` (m, *shape).

    The statistic is E(b, data) - E(a, data). The null hypothesis is that a and b come from one distribution, and
    permutations of a and b give the null distribution. A small p-value says that a is closer.
    """
    pooled, n = torch.cat((a, b)).flatten(1).double(), len(a)
    to_data = torch.cdist(pooled, data.flatten(1).double()).mean(1)
    among = torch.cdist(pooled, pooled)
    in_a = _splits(len(pooled), n, rng, permutations).to(pooled.device)
    in_b = 1.0 - in_a
    distance_a = 2.0 * (to_data @ in_a) / n - _spread(among, in_a)  # the spread of the data cancels
    distance_b = 2.0 * (to_data @ in_b) / len(b) - _spread(among, in_b)
    return _one_sided(distance_b - distance_a)


def _splits(total: int, n: int, rng: Noise, permutations: int) -> Tensor:
    """(total, 1 + permutations) indicators of the first sample: the given split, then random splits of n ones."""
    order = Rng(rng.seed, "cpu", rng.offset).uniform("permutations", permutations, (total,), torch.float64).argsort(1)
    inside = torch.zeros(1 + permutations, total, dtype=torch.float64)
    inside[0, :n] = 1.0
    inside[1:].scatter_(1, order[:, :n], 1.0)
    return inside.T


def _spread(distances: Tensor, inside: Tensor) -> Tensor:
    """The mean distance of two different samples inside, for each column of `inside`."""
    n = inside.sum(0)
    return (inside * (distances @ inside)).sum(0) / (n * (n - 1.0))


def _one_sided(values: Tensor) -> PermutationResult:
    """The share of values that are at least the first one, itself included, so p is never 0."""
    # Permutations that change nothing must count as ties although their sums round differently.
    tie = values[0] - 1e-12 * values.abs().max()
    return PermutationResult(float((values >= tie).double().mean()), float(values[0]))
