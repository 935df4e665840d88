r"""The Gaussian copula of columns with ties: its correlations from scores, and its likelihood of discrete rows.

A cell of code k owns the interval (a_k, b_k) of a uniform u, where b_k - a_k is the share of its code. The score of the
cell is the mean of a standard normal z in that interval,

    m_k = E[z | Phi(z) in (a_k, b_k)] = (phi(z_a) - phi(z_b)) / (b_k - a_k),   z_a = Phi^-1(a_k),   v = Var m <= 1.

If z and z' of two columns are normal with correlation R, then Cov(m, m') = R v v' exactly where one of the two columns
has no ties, and to first order in R where both have (the first term of Mehler's expansion). So Cov(m, m') / (v v')
estimates R.

The probability of a row of codes is that z lies in a box. With R = L L^T and z = L e it is estimated one column at a
time (GHK; Genz, "Numerical computation of multivariate normal probabilities", 1992):

    P(row) = E [prod_j p_j],   p_j = Phi((z_b - m_j) / L_jj) - Phi((z_a - m_j) / L_jj),   m_j = sum_{i < j} L_ji e_i,

with e_j drawn from the normal between both ends. The mean over K draws is unbiased, so its logarithm is a lower bound
in expectation, which rises with K (as in Burda et al., "Importance weighted autoencoders", 2016).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from morphogen.core.column_views import codes_of, log_within_bins
from morphogen.core.columns import Table
from morphogen.core.rng import Noise

_MOST = 0.999  # estimates beyond it come from the first order alone
_RIDGE = 0.01  # weight of the identity, and the least eigenvalue, so that the matrix has a root
_LEAST_MASS = 1e-300


def interval_means(ends: Tensor) -> Tensor:
    """m (K,): the mean of a normal z with Phi(z) between two neighbors of the rising `ends` (K + 1) in [0, 1]."""
    z = torch.special.ndtri(ends.clamp(1e-300, 1.0 - 1e-16))
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2.0 * math.pi)
    density = torch.where((ends <= 0.0) | (ends >= 1.0), 0.0, density)
    return (density[:-1] - density[1:]) / ends.diff().clamp_min(1e-300)


def correlations(scores: Tensor) -> Tensor:
    """R (E, E) of scores m (N, E) over the rows in which both are known (not NaN); 0 where nothing varies."""
    known = ~scores.isnan()
    m, x = known.double(), scores.nan_to_num(0.0).double()
    n = (m.mT @ m).clamp_min(1.0)
    mean = x.mT @ m / n
    variance = (x.square().mT @ m / n - mean.square()).clamp_min(0.0)
    covariance = x.mT @ x / n - mean * mean.mT
    scale = variance * variance.mT
    found = torch.where(scale > 1e-9, covariance / scale.clamp_min(1e-300), 0.0).clamp(-_MOST, _MOST)
    return found.fill_diagonal_(1.0)


def positive(found: Tensor, ridge: float = 0.0) -> Tensor:
    """A near matrix with diagonal 1 and no eigenvalue far below `ridge`, after adding that share of the identity."""
    weaker = (1.0 - ridge) * found + ridge * torch.eye(len(found), dtype=found.dtype)
    values, vectors = torch.linalg.eigh(weaker)
    root = vectors * values.clamp_min(max(ridge, 1e-12)).sqrt()
    root = root / root.square().sum(1, keepdim=True).sqrt()
    return root @ root.mT


def independent_rows(table: Table, train: Tensor, cells: Tensor) -> Tensor:
    """log P (N,) of rows with independent columns: a histogram of the codes of each, with add-one smoothing.

    Within a bin numbers are uniform, as in `core.column_views.log_within_bins`.

    Args:
        table: the schema.
        train: (M, C) the cells that the histograms are of.
        cells: (N, C) the cells to score.
    """
    shares = _shares(table, codes_of(table, train))
    codes = codes_of(table, cells)
    each = torch.stack([share.log()[code] for share, code in zip(shares, codes.mT, strict=True)], 1)
    return (each + log_within_bins(table, codes)).sum(1)


def copula_rows(table: Table, train: Tensor, cells: Tensor, noise: Noise, draws: int = 100) -> Tensor:
    """A lower bound of log P (N,) of rows of the Gaussian copula of `train`, by `draws` draws for each row.

    The codes of a category are ordered by their shares. Args as of `independent_rows`.
    """
    ours = codes_of(table, train)
    shares = _shares(table, ours)
    lows, highs, scores = [], [], []
    codes = codes_of(table, cells)
    for j, (column, share) in enumerate(zip(table.columns, shares, strict=True)):
        order = torch.arange(len(share)) if column.is_number else share.argsort(descending=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        ends = torch.cat((torch.zeros(1, dtype=torch.float64), share[order].cumsum(0))).clamp(0.0, 1.0)
        lows.append(ends[:-1][place[codes[:, j]]])
        highs.append(ends[1:][place[codes[:, j]]])
        scores.append(interval_means(ends)[place[ours[:, j]]])
    root = torch.linalg.cholesky(positive(correlations(torch.stack(scores, 1)), _RIDGE))
    low, high = (_score(torch.stack(ends, 1)) for ends in (lows, highs))
    total = torch.full((len(cells),), -torch.inf, dtype=torch.float64)
    for k in range(draws):
        u = noise.shifted(k * len(cells)).uniform("copula", len(cells), (len(table.columns),), torch.float64)
        total = torch.logaddexp(total, _log_box(root, low, high, u))
    return total - math.log(draws) + log_within_bins(table, codes).sum(1)


def _log_box(root: Tensor, low: Tensor, high: Tensor, u: Tensor) -> Tensor:
    """log prod_j p_j (N,) of boxes between `low` and `high` (N, C), with uniform noise u (N, C)."""
    e, total = torch.zeros_like(low), torch.zeros(len(low), dtype=low.dtype)
    for j in range(low.shape[1]):
        mean = e[:, :j] @ root[j, :j]
        a, b = ((ends[:, j] - mean) / root[j, j] for ends in (low, high))
        upper = a > 0.0  # in the upper tail both ends are mirrored, so that their difference keeps its digits
        a, b = torch.where(upper, -b, a), torch.where(upper, -a, b)
        below, above = torch.special.ndtr(a), torch.special.ndtr(b)
        total = total + (above - below).clamp_min(_LEAST_MASS).log()
        drawn = torch.special.ndtri((below + u[:, j] * (above - below)).clamp(_LEAST_MASS, 1.0 - 1e-16))
        drawn = torch.minimum(torch.maximum(drawn, a), b)
        e[:, j] = torch.where(upper, -drawn, drawn)
    return total


def _score(u: Tensor) -> Tensor:
    """Phi^-1(u) in [-9, 9]."""
    return torch.special.ndtri(u.clamp(0.0, 1.0)).clamp(-9.0, 9.0)


def _shares(table: Table, codes: Tensor) -> list[Tensor]:
    found = []
    for j, count in enumerate(table.codes):
        held = torch.bincount(codes[:, j], minlength=count).double() + 1.0
        found.append(held / held.sum())
    return found
