"""The kernel distance (KID): the squared maximum mean discrepancy of features, unbiased, over all pairs.

With the kernel k(x, y) = (x.y / D + 1)^3 (Binkowski et al., "Demystifying MMD GANs", 2018),

    MMD^2(P, Q) = E k(X, X') + E k(Y, Y') - 2 E k(X, Y),

and its U-statistic takes the means over all pairs of different records (Gretton et al., 2012). Usual implementations
average over random subsets of 50 to 1000 records, and report the scatter of the subsets as the error. That is not the
error of their mean, and their mean does not use all pairs. All pairs of 10,000 by 10,000 records take three matrix
products.

**Interval.** Leaving out record x_i changes the estimate only by its row sums, so the delete-one jackknife is exact and
costs nothing: with r_i = mean_{j != i} k(x_i, x_j) and c_i = mean_j k(x_i, y_j),

    T_-i - T = 2/(n - 2) (mean r - r_i) + 2/(n - 1) (c_i - mean c).

This gives J. With h the kernel minus its row and column means, so that E h = 0 given either record,

    Q = 2 E h(X, X')^2 / (n (n - 1)) + 2 E h(Y, Y')^2 / (m (m - 1)) + 4 E h(X, Y)^2 / (n m),

needs the sums of k^2, which the same pass adds up. `intervals` turns both into the interval.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.chunks import chunks
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate, SquaredDistance

MIN_RECORDS = 32  # with fewer records the variance of the row means is too uncertain
_CHUNK = 512  # rows and columns of a block of the kernel matrix: it stays in the cache


def kid(a: Tensor, b: Tensor) -> Estimate:
    """The unbiased squared MMD of features a (N, D) and b (M, D) with a 95 % interval.

    The value may be negative. It has no unit and depends on the scale of the features. It is a small difference of
    large means, so all is computed in float64. Raises `DataError` for fewer than 32 records of either.
    """
    a, b = intervals.samples(a, b, MIN_RECORDS, "the interval rests on the scatter of single records' kernel means")
    n, m = len(a), len(b)
    aa, bb, ab = _within(a), _within(b), _between(a, b)
    value = aa.mean + bb.mean - 2.0 * ab.mean
    noise = (_own(a) - aa.mean) / n + (_own(b) - bb.mean) / m
    jackknife = _share(aa.rows, ab.rows) + _share(bb.rows, ab.columns)
    pairs = 2.0 * aa.squares / (n * (n - 1)) + 2.0 * bb.squares / (m * (m - 1)) + 4.0 * ab.squares / (n * m)
    return SquaredDistance(value, noise, jackknife, pairs).estimate()


def kid_difference(a: Tensor, b: Tensor, real: Tensor) -> Estimate:
    """The difference kid(a, real) - kid(b, real) with its interval, for features a (N, D), b (M, D) and real (K, D).

    The kernels among the real records cancel. Leaving out a real record changes both distances at once, so their common
    error cancels too. The variance L + Q is that of `intervals`. Under the hypothesis that a and b have one
    distribution, the difference is linear in the record's labels, with the influence 2 (mean kernel to the union -
    mean kernel to the real records), as in `frechet_difference`. Raises `DataError` as `kid` does.
    """
    why = "the interval rests on the scatter of single records' kernel means"
    a, r = intervals.samples(a, real, MIN_RECORDS, why)
    b, _ = intervals.samples(b, real, MIN_RECORDS, why)
    n, m, k = len(a), len(b), len(r)
    aa, bb, ar, br, ab = _within(a), _within(b), _between(a, r), _between(b, r), _between(a, b)
    value = (aa.mean - 2.0 * ar.mean) - (bb.mean - 2.0 * br.mean)
    jackknife = _share(aa.rows, ar.rows) + _share(bb.rows, br.rows) + 4.0 * float((ar.columns - br.columns).var()) / k
    pairs = 2.0 * aa.squares / (n * (n - 1)) + 2.0 * bb.squares / (m * (m - 1))
    pairs += 4.0 * ar.squares / (n * k) + 4.0 * br.squares / (m * k)
    to_union = ((n - 1) * aa.rows + m * ab.rows) / (n + m - 1), ((m - 1) * bb.rows + n * ab.columns) / (n + m - 1)
    influence = 2.0 * (torch.cat(to_union) - torch.cat((ar.rows, br.rows)))
    size = 1.0 / n + 1.0 / m
    null = float(influence.var()) * size + ((n - m) / (n + m)) ** 2 * 2.0 * ab.squares * size**2
    return intervals.difference(value, null, pairs + max(0.0, jackknife - 2.0 * pairs))


class _Kernel(NamedTuple):
    """A summary of a kernel matrix: the means of its rows, its columns, all its elements, and the centered h^2."""

    rows: Tensor
    columns: Tensor
    mean: float
    squares: float


def _own(x: Tensor) -> float:
    """The mean of k(x_i, x_i)."""
    return float((x.square().mean(1) + 1.0).pow(3).mean())


def _share(own: Tensor, cross: Tensor) -> float:
    """(n - 1)/n sum_i (T_-i - T)^2 of one sample, from its records' mean kernels to their own and the other sample."""
    n = len(own)
    change = 2.0 / (n - 2) * own - 2.0 / (n - 1) * cross
    return float((n - 1) ** 2 / n * change.var())


def _block(x: Tensor, y: Tensor) -> Tensor:
    base = torch.addmm(torch.ones((), dtype=x.dtype, device=x.device), x, y.mT, alpha=1.0 / x.shape[1])
    return base.square().mul_(base)


def _within(x: Tensor) -> _Kernel:
    """The kernel of pairs of different records of one sample; blocks below the diagonal mirror those above."""
    n = len(x)
    sums, squares = x.new_zeros(n), x.new_zeros(())
    for i, j in itertools.combinations_with_replacement(chunks(n, _CHUNK), 2):
        k = _block(x[i], x[j])
        if i == j:
            k.fill_diagonal_(0.0)
        else:
            sums[j] += k.sum(0)
        sums[i] += k.sum(1)
        squares += (1.0 if i == j else 2.0) * k.flatten().dot(k.flatten())
    rows, mean = sums / (n - 1), float(sums.sum() / (n * (n - 1)))
    # h_ij = k_ij - (n - 1)/(n - 2) (r_i + r_j) + c: every row of h without its diagonal sums to 0
    c = n / (n - 2) * mean
    about = float(squares) / (n * (n - 1)) - 2.0 * (n - 1) / (n - 2) * float(rows.square().mean()) + c * mean
    return _Kernel(rows, rows, mean, max(0.0, about) * (n - 1) / (n - 3))


def _between(x: Tensor, y: Tensor) -> _Kernel:
    n, m = len(x), len(y)
    rows, columns, squares = x.new_zeros(n), x.new_zeros(m), x.new_zeros(())
    for i, j in itertools.product(chunks(n, _CHUNK), chunks(m, _CHUNK)):
        k = _block(x[i], y[j])
        rows[i] += k.sum(1)
        columns[j] += k.sum(0)
        squares += k.flatten().dot(k.flatten())
    rows, columns, mean = rows / m, columns / n, float(rows.sum() / (n * m))
    about = float(squares) / (n * m) - float(rows.square().mean() + columns.square().mean()) + mean**2
    return _Kernel(rows, columns, mean, max(0.0, about) * n * m / ((n - 1) * (m - 1)))
