"""Intervals of estimates from two samples: the jackknife with and without its excess, and exact binomial ones.

Expand a smooth statistic T of two samples of n and m records about its limit theta (Hoeffding, 1948),

    T = theta + (1/n) sum_i l(x_i) + (1/m) sum_j l'(y_j) + (terms of pairs of records) + ...

**Bias.** A record paired with itself leaves a bias c/n + c'/m. Leaving out one of g groups of x changes c/n to
c/n g/(g-1), so (g - 1) (mean of the leave-outs - T) estimates c/n, and likewise for y (Quenouille, 1956). The
bias that is left is O(1/n^2).

**Variance.** Let L be the variance of the two sums and Q that of the pairs of different records. Leaving out a record
leaves out its half of all pairs, and each pair belongs to two records; so every jackknife estimates

    J = L + 2 Q   where the variance is   L + Q   (Efron and Stein, 1981: it is never too small in expectation).

**Squared distances.** The Frechet distance, the kernel distance and the divergence of class shares are, to second
order, |mean z(x) - mean z(y)|^2 in features z of their own. For two samples of one distribution L = 0: J is twice the
variance, and as it is itself a square of noise, low just when the distance is. Intervals from J miss there, just
where the floor is measured. But Q is known well, as a mean over pairs, and L is proportional to theta along a
direction: L = c theta. So the interval holds each theta that T does not contradict (as Wilson's does for a share,
1927),

    (T - theta)^2 <= 1.96^2 (Q + c max(theta, 0)),

which is exact at theta = 0 and -+ 1.96 (L + Q)^1/2 far from it. With b = E|z|^2 / n + E|z|^2 / m, what noise adds to
the plain square, both J ~ c theta + c_0 b and T + b ~ theta + b, where c_0 = 2 Q / b is the slope of the noise
itself. Hence

    c = (J - 2 Q + w c_0 b) / (T + w b),   w b = min(b, Q^1/2):

c_0 counts for as much as keeps the noise of T from the denominator. It is least sure in between, at theta of about
3 Q^1/2 with a difference along one of many unlike directions: 86 % in the worst case that
`benchmarks/validity/estimators.py` tries, where -+ 1.96 (L + Q)^1/2 has 78 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng

Z = 1.959963984540054  # 97.5 % quantile of the standard normal
LEVEL = 0.95


class Estimate(NamedTuple):
    """A number whose estimated bias is taken off already; `bias` is what was taken off. Its 95 % interval, or None."""

    value: float
    interval: tuple[float, float] | None
    bias: float = 0.0


def samples(a: Tensor, b: Tensor, least: int, why: str) -> tuple[Tensor, Tensor]:
    """Two samples of records (N, *shape), (M, *shape) as finite float64 matrices (N, D), (M, D).

    Raises `DataError` if their shapes do not fit, a value is not finite, or one has fewer than `least` records, which
    `why` explains.
    """
    if a.ndim < 2 or b.ndim < 2 or a.shape[1:] != b.shape[1:]:
        raise DataError(
            f"two samples of records of one shape, (N, D) and (M, D), are expected; got {tuple(a.shape)} and"
            f" {tuple(b.shape)}: take both through the same network."
        )
    if min(len(a), len(b)) < least:
        raise DataError(
            f"{len(a):,} and {len(b):,} records are compared, and at least {least:,} of each are needed: {why}. Use"
            " more records."
        )
    for name, sample in (("first", a), ("second", b)):
        if not torch.isfinite(sample).all():
            rows = (~torch.isfinite(sample.flatten(1))).any(1).nonzero().flatten()
            raise DataError(
                f"the {name} of the two sets of records holds NaN or infinite values in {len(rows)} of {len(sample)}"
                f" records (the first is record {int(rows[0])}): leave them out, or find where they come from."
            )
    return a.detach().flatten(1).double(), b.detach().flatten(1).double()


def normal(value: float, variance: float, bias: float = 0.0) -> Estimate:
    """value - bias with the interval -+ 1.96 sqrt(variance)."""
    half = Z * math.sqrt(variance)
    return Estimate(value - bias, (value - bias - half, value - bias + half), bias)


def shuffled(x: Tensor, name: str) -> Tensor:
    """The records (N, ...) in a random order, always the same: groups of them then follow no order of their own."""
    return x[Rng(0).permutation(name, 0, len(x)).to(x.device)]


class SquaredDistance(NamedTuple):
    """What is known of a squared distance: `value`, its bias removed; b, J and Q as above."""

    value: float
    noise: float
    jackknife: float
    pairs: float

    def estimate(self, bias: float = 0.0, z: float = Z) -> Estimate:
        """With the interval of all theta that the value does not contradict at z standard deviations."""
        weighted = min(self.noise, math.sqrt(self.pairs))  # w b
        own = 2.0 * self.pairs / self.noise if self.noise > 0.0 else 0.0  # c_0
        seen = self.value + weighted
        slope = max(0.0, self.jackknife - 2.0 * self.pairs + weighted * own) / seen if seen > 0.0 else own
        middle = self.value + 0.5 * z**2 * slope
        half = z * math.sqrt(max(0.0, self.pairs + slope * self.value + 0.25 * (z * slope) ** 2))
        edge = z * math.sqrt(self.pairs)  # where theta < 0 the variance is Q
        low = self.value - edge if self.value <= edge else middle - half
        high = self.value + edge if self.value <= -edge else middle + half
        return Estimate(self.value, (low, high), bias)


def difference(value: float, null: float, variance: float, bias: float = 0.0) -> Estimate:
    """The interval of a difference whose variance is `null` where nothing differs, and `variance` at `value`.

    It holds each theta with

        (T - theta)^2 <= 1.96^2 (null + c |theta|),   c = (variance - null) / (|T| + null^1/2).

    So 0 lies outside if and only if |T| > 1.96 null^1/2: that is the test, at its own level, because `null` does not
    depend on chance differences of the two samples. Far from 0 it is -+ 1.96 variance^1/2.
    """
    size = abs(value)
    slope = max(0.0, variance - null) / (size + math.sqrt(null)) if variance > null else 0.0
    middle = size + 0.5 * Z**2 * slope  # theta of the sign of T
    half = Z * math.sqrt(null + slope * size + 0.25 * (Z * slope) ** 2)
    other = size - 0.5 * Z**2 * slope  # theta of the other sign
    low = middle - half
    if size <= Z * math.sqrt(null):
        low = other - Z * math.sqrt(max(0.0, null - slope * size + 0.25 * (Z * slope) ** 2))
    ends = (low, middle + half)
    return Estimate(value, ends if value >= 0.0 else (-ends[1], -ends[0]), bias)


def jackknife_bias(value: float, without: Tensor) -> float:
    """(g - 1) (mean - value) from the values (g,) of a statistic without each of g groups of one sample."""
    return (len(without) - 1) * (float(without.double().mean()) - value)


def group_jackknife(value: float, *without: Tensor) -> Estimate:
    """The bias-corrected delete-a-group jackknife of a statistic of one or several independent samples.

    `without` has one tensor (g,) a sample: the statistic without each of its g groups. The variance of a sample's share
    is (g - 1)/g sum_i (T_-i - mean)^2; shares add, and the Student quantile has the degrees of freedom of their sum
    (Satterthwaite, 1946). The variance is J, not corrected for pairs.
    """
    bias = sum(jackknife_bias(value, w) for w in without)
    shares = [float((len(w) - 1) ** 2 / len(w) * w.double().var()) for w in without]
    total = sum(shares)
    if total == 0.0:
        return Estimate(value - bias, (value - bias, value - bias), bias)
    freedom = total**2 / sum(s**2 / (len(w) - 1) for s, w in zip(shares, without, strict=True))
    half = student_quantile(freedom) * math.sqrt(total)
    return Estimate(value - bias, (value - bias - half, value - bias + half), bias)


def student_quantile(freedom: float, z: float = Z) -> float:
    """The quantile of Student's t where the normal's is z, to 1e-3 from 6 degrees of freedom on (Fisher's expansion).

    Fisher and Cornish, "The percentile points of distributions having known cumulants", 1960.
    """
    v, z2 = 1.0 / freedom, z * z
    return z * (
        1.0
        + v * (z2 + 1.0) / 4.0
        + v**2 * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0
        + v**3 * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0
        + v**4 * ((((79.0 * z2 + 776.0) * z2 + 1482.0) * z2 - 1920.0) * z2 - 945.0) / 92160.0
    )


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X ~ Binomial(n, p), by its exact sum."""
    return _tail(_log_choose(k, n), k, n, p)


def binomial_interval(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of p from k successes in n (Clopper and Pearson, 1934): it covers at least at its level."""
    half = 0.5 * (1.0 - level)
    from_k, above_k = _log_choose(k, n), _log_choose(k + 1, n)
    low = 0.0 if k == 0 else _bisect(lambda p: _tail(from_k, k, n, p) < half)
    high = 1.0 if k == n else _bisect(lambda p: _tail(above_k, k + 1, n, p) < 1.0 - half)
    return low, high


def _log_choose(k: int, n: int) -> Tensor:
    """log (n choose i) for i = k .. n."""
    at = torch.arange(max(k, 0), n + 1, dtype=torch.float64)
    return math.lgamma(n + 1) - torch.lgamma(at + 1) - torch.lgamma(n - at + 1)


def _tail(log_choose: Tensor, k: int, n: int, p: float) -> float:
    if k <= 0 or p >= 1.0:
        return 1.0
    if k > n or p <= 0.0:
        return 0.0
    at = torch.arange(k, n + 1, dtype=torch.float64)
    return min(1.0, float((log_choose + at * math.log(p) + (n - at) * math.log1p(-p)).exp_().sum()))


def _bisect(too_low: Callable[[float], bool]) -> float:
    """The p in (0, 1) up to which `too_low` holds, to 1e-12."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if too_low(middle) else (low, middle)
    return 0.5 * (low + high)
