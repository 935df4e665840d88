"""Classes as modes: the classes that a model generates, their shares, and the quality of each.

A frozen classifier gives the classes of real and generated pictures, so its errors affect both sides. With counts c_k
of n generated and d_k of m real records,

    KL(p || q) = sum_k p_k log(p_k / q_k),   p_k = (c_k + 1/2) / (n + K/2),   q_k = (d_k + 1/2) / (m + K/2):

half a record is added to each class (Jeffreys' prior). So an empty class gives a large but finite value, which grows
with log n. The expansion to second order in the two empirical distributions, as in `frechet`, is

    KL_hat = KL + mean l(x) + mean l'(y) + |mean z(x) - mean z(y)|^2,
    l = log(p_k / q_k),   l' = -p_k / q_k,
    z(x)_k = (p_k / 2)^1/2 (1[x = k] / p_k - 1),   z(y)_k the same over q_k,

The square has the bias tr C_a / n + tr C_b / m, C = Cov z, and the variance of pairs Q = 2 tr (C_a / n + C_b / m)^2.
Both are plain sums over classes, so no resampling is needed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.evaluation.metrics.frechet import least, parts
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate, SquaredDistance

FOUND = 0.1  # a class is found from this part of its share among real records on
EXPECTED = 10  # expected records of the rarest class; a fair model then misses it in 5 of 10^5 draws


class Modes(NamedTuple):
    """The classes of the generated records.

    found    number of found classes, of the `there` classes of the real records. The interval runs from the surely
             found
             to the possibly found ones, by exact intervals that hold for all classes together
    missing  the numbers of the other classes
    kl       KL(generated || real) of the class shares in nats, bias removed
    shares   (2, K) of generated and real records
    """

    found: Estimate
    there: int
    missing: list[int]
    kl: Estimate
    shares: Tensor


class ClassConditional(NamedTuple):
    """Frechet distances within classes: each, their mean, and the worst class. `left_out` are the classes with too few
    records.

    The worst value is the largest of noisy values, so selection makes it too large. Its interval is that of this class
    alone, at a level that holds for all classes together.
    """

    each: dict[int, Estimate]
    mean: Estimate
    worst: Estimate
    worst_class: int
    left_out: dict[int, str]


def labels(logits: Tensor) -> Tensor:
    """The likeliest class (N,) of class logits (N, K)."""
    return logits.argmax(1)


def modes(generated: Tensor, real: Tensor, classes: int) -> Modes:
    """Compare the classes (N,) of generated and (M,) of real records, integers 0 .. classes-1.

    A class of the real records is found if its share of the generated records is at least a tenth of its share of the
    real ones. The errors of a classifier alone hardly reach that.

    Raises `DataError` for labels out of range, and if the rarest class has fewer than 10 expected records among the
    generated ones.
    """
    c, d = _counts(generated, classes, "generated"), _counts(real, classes, "real")
    n, m = int(c.sum()), int(d.sum())
    there = (d > 0).nonzero().flatten().tolist()
    rarest = int(d[d > 0].min()) / m
    if n * rarest < EXPECTED:
        raise DataError(
            f"{n} generated records cannot show whether the rarest of {len(there)} classes is missing: its share of the"
            f" real ones is {rarest:.4f}, so {n * rarest:.1f} are expected and {EXPECTED} are needed. Use at least"
            f" {math.ceil(EXPECTED / rarest)} generated records."
        )
    missing, surely, possibly = [], 0, 0
    level = 1.0 - (1.0 - intervals.LEVEL) / len(there)  # Bonferroni: the intervals of all classes hold together
    for k in there:
        threshold = FOUND * int(d[k]) / m
        low, high = intervals.binomial_interval(int(c[k]), n, level)
        surely += low >= threshold
        possibly += high >= threshold
        if int(c[k]) < threshold * n:
            missing.append(k)
    found = Estimate(len(there) - len(missing), (surely, possibly))
    return Modes(found, len(there), missing, _kl(c, d), torch.stack((c / n, d / m)))


def class_conditional_frechet(
    generated: Tensor, generated_labels: Tensor, real: Tensor, real_labels: Tensor
) -> ClassConditional:
    """The Frechet distance of features (N, D) and (M, D) within each class of the real records' labels (M,).

    Let `generated_labels` be the classes of the conditions. Then the mean over classes detects good pictures of a wrong
    class, which the distance over all records does not. For a model without conditions give the classes of a
    classifier.

    Raises `DataError` if no class has the 4 D records that `frechet` needs on either side.
    """
    for what, names, records in (("generated", generated_labels, generated), ("real", real_labels, real)):
        if len(names) != len(records):
            raise DataError(f"{len(names)} labels came with {len(records)} {what} records: give one each.")
    needed = least(real.flatten(1).shape[1])
    found: dict[int, tuple[SquaredDistance, float]] = {}
    left_out: dict[int, str] = {}
    for k in sorted(set(real_labels.tolist()) - {-1}):
        a, b = generated[generated_labels == k], real[real_labels == k]
        if min(len(a), len(b)) < needed:
            left_out[k] = f"{len(a)} generated and {len(b)} real records, at least {needed} of each are needed"
        else:
            found[k] = parts(a, b)
    if not found:
        sizes = [(int((generated_labels == k).sum()), int((real_labels == k).sum())) for k in left_out]
        most = max(sizes, key=min, default=(0, 0))
        raise DataError(
            f"no class has enough records for a distance of its own: a class needs at least {needed:,} generated and as"
            f" many real ones, and the largest has {most[0]:,} and {most[1]:,}. Use more records."
        )
    count = len(found)
    value, noise, jackknife, pairs, bias = (sum(v) for v in zip(*((*p, b) for p, b in found.values()), strict=True))
    mean = SquaredDistance(value / count, noise / count, jackknife / count**2, pairs / count**2)
    worst = max(found, key=lambda k: found[k][0].value)
    tail = torch.tensor(0.5 * (1.0 - intervals.LEVEL) / count, dtype=torch.float64)  # Bonferroni
    return ClassConditional(
        {k: p.estimate(b) for k, (p, b) in found.items()},
        mean.estimate(bias / count),
        found[worst][0].estimate(found[worst][1], z=-float(torch.special.ndtri(tail))),
        worst,
        left_out,
    )


def _counts(names: Tensor, classes: int, what: str) -> Tensor:
    if names.ndim != 1 or names.dtype.is_floating_point or not len(names):
        raise DataError(
            f"{what} classes are expected as integers (N,), got {names.dtype} of shape {tuple(names.shape)}:"
            " take `labels(logits)` of a classifier's output."
        )
    if int(names.min()) < 0 or int(names.max()) >= classes:
        raise DataError(
            f"{what} classes lie in [{int(names.min())}, {int(names.max())}], expected 0 to {classes - 1}:"
            " leave out records whose class is not known."
        )
    return torch.bincount(names.cpu(), minlength=classes).double()


def _kl(c: Tensor, d: Tensor) -> Estimate:
    n, m, classes = float(c.sum()), float(d.sum()), len(c)
    p, q = (c + 0.5) / (n + 0.5 * classes), (d + 0.5) / (m + 0.5 * classes)
    log_ratio, ratio = (p / q).log(), p / q
    linear = _variance(log_ratio, p) / n + _variance(ratio, q) / m

    def covariance(shares: Tensor) -> Tensor:
        """The covariance of z for one record: (p_k p_l)^1/2 / 2 (delta_kl / share_k - 1)."""
        return 0.5 * torch.outer(p, p).sqrt() * (shares.reciprocal().diag() - 1.0)

    spread = covariance(p) / n + covariance(q) / m
    bias = float(spread.trace())
    value = float((p * log_ratio).sum()) - bias
    return SquaredDistance(value, bias, float(linear), 2.0 * float(spread.square().sum())).estimate(bias)


def _variance(values: Tensor, shares: Tensor) -> Tensor:
    mean = (shares * values).sum()
    return (shares * (values - mean).square()).sum()
