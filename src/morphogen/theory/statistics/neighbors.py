"""Precision, recall, density and coverage: generated and real records in each other's neighborhoods.

The neighborhood of a record is the open ball that reaches to its k-th nearest neighbor among the other records of its
own sample, itself left out. With real records x_i of radius r_i and generated ones y_j of radius s_j:

    precision   the share of generated records that lie in the ball of some real one           (Kynkaanniemi et al.,
    2019)
    recall      the share of real records that lie in the ball of some generated one
    density     the mean number of real balls that a generated record lies in, divided by k    (Naeem et al., 2020)
    coverage    the share of real records whose ball holds some generated one

Radius and inequality are those of Naeem's package prdc, so that the figures are equal; Kynkaanniemi's paper
counts the sphere as inside. Density is 1 in expectation for two samples of one distribution and has no upper limit.
Recall and precision are not fair to a single far record, whose ball holds everything; density and coverage are. None is
unbiased for large n: each is a statement about this n, so compare equal n only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.chunks import chunks
from morphogen.core.errors import UsageError
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate

_CHUNK = 1 << 23  # distances held together


class Neighborhoods(NamedTuple):
    """The four shares, each with its interval; k as used."""

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate
    k: int


def neighborhoods(generated: Tensor, real: Tensor, k: int = 5) -> Neighborhoods:
    """Precision, recall, density and coverage of features (N, D) and (M, D), with 95 % intervals.

    An interval covers the value for new records of the measured sample against the same other sample. The measured
    sample is the generated one for precision and density, and the real one for recall and coverage. The interval does
    not include the variation of the other sample; over both it covers less, least for density
    (`benchmarks/validity/estimators.py` prints both rates). So compare models against the same real records.

    Raises `DataError` for fewer than 10 k records, whose balls would cover much of everything.
    """
    if k < 1:
        raise UsageError(f"neighborhoods need k of at least 1 (got {k}).")
    why = f"neighborhoods of {k} records among fewer than {10 * k} are no longer local"
    y, x = intervals.samples(generated, real, 10 * k, why)
    center = x.mean(0)  # distances do not change, but lose fewer digits
    x, y = x - center, y - center
    r, s = radii(x, k), radii(y, k)
    inside_real = x.new_zeros(len(y))
    in_generated = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    covered = torch.zeros_like(in_generated)
    for start, d in _squared_distances(x, y):
        rows = slice(start, start + len(d))
        in_ball = d < r[rows, None].square()
        inside_real += in_ball.sum(0)
        covered[rows] = in_ball.any(1)
        in_generated[rows] = (d < s.square()).any(1)
    density = inside_real / k
    return Neighborhoods(
        _share(inside_real > 0),
        _share(in_generated),
        intervals.normal(float(density.mean()), float(density.var()) / len(density)),
        _share(covered),
        k,
    )


def radii(x: Tensor, k: int) -> Tensor:
    """(N,) the distance of each record (N, D) to its k-th nearest among the others; 0 if k of them are equal to it."""
    found = []
    for start, d in _squared_distances(x, x):
        d[:, start : start + len(d)].fill_diagonal_(torch.inf)
        kth = d.topk(k, largest=False).indices[:, -1]
        found.append(_exact(x[start : start + len(d)], x[kth]))
    return torch.cat(found)


def nearest(x: Tensor, to: Tensor) -> tuple[Tensor, Tensor]:
    """The distance (N,) of each record (N, D) to the nearest of `to` (M, D), and which one that is.

    The nearest is found in the records' own precision, by |x|^2 + |y|^2 - 2 x.y, and its distance then taken from the
    difference itself: that of an exact copy is exactly 0.
    """
    center = to.mean(0)
    distances, indices = [], []
    for start, d in _squared_distances(x - center, to - center):
        index = d.argmin(1)
        indices.append(index)
        distances.append(_exact(x[start : start + len(d)], to[index]))
    return torch.cat(distances), torch.cat(indices)


def _exact(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() - y.double()).square().sum(1).sqrt()


def _squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Squared distances of some rows of x at a time to all of y, with the number of the first row."""
    lengths = y.square().sum(1)
    for rows in chunks(len(x), max(1, _CHUNK // len(y))):
        some = x[rows]
        d = torch.addmm(lengths, some, y.mT, alpha=-2.0)
        yield rows.start, d.add_(some.square().sum(1, keepdim=True)).clamp_min_(0.0)


def _share(hits: Tensor) -> Estimate:
    count = int(hits.sum())
    return Estimate(count / len(hits), intervals.binomial_interval(count, len(hits)))
