"""How far apart two distributions are: closed forms for Gaussians, densities on a grid, and samples.

The energy distance of two distributions (Szekely and Rizzo, "Energy statistics", 2013),

    E(P, Q) = 2 E|X - Y| - E|X - X'| - E|Y - Y'| >= 0,   with equality only for P = Q,

needs samples alone. Its estimate here leaves out each sample's distance to itself, so it is unbiased (and
may be negative). Its null distribution comes from permutations of the pooled samples, which
makes the test exact at any sample size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.rng import Noise, Rng


def gaussian_kl(mean_p: Tensor, cov_p: Tensor, mean_q: Tensor, cov_q: Tensor) -> Tensor:
    """KL(N(mean_p, cov_p) || N(mean_q, cov_q)) in nats; means (D,), positive definite covariances (D, D).

    1/2 [tr(Q^-1 P) + (m_q - m_p)^T Q^-1 (m_q - m_p) - D + log det Q - log det P], in float64.
    """
    mean_p, cov_p, mean_q, cov_q = (v.double() for v in (mean_p, cov_p, mean_q, cov_q))
    root_p, root_q = torch.linalg.cholesky(cov_p), torch.linalg.cholesky(cov_q)
    scaled = torch.linalg.solve_triangular(root_q, root_p, upper=False)
    shift = torch.linalg.solve_triangular(root_q, (mean_q - mean_p)[:, None], upper=False)
    log_det = 2.0 * (root_q.diagonal().log().sum() - root_p.diagonal().log().sum())
    return 0.5 * (scaled.square().sum() + shift.square().sum() - len(mean_p) + log_det)


def jensen_shannon(p: Tensor, q: Tensor, cell: float = 1.0) -> Tensor:
    """1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q) / 2, of two densities on one grid; 0 to log 2 nats.

    `p` and `q` hold density values at grid points of volume `cell` each (or masses, with `cell` 1).
    """
    m = 0.5 * (p + q)
    terms = torch.special.xlogy(p, p) + torch.special.xlogy(q, q) - 2.0 * torch.special.xlogy(m, m)
    return 0.5 * cell * terms.sum()


def frechet_distance(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    """The squared Frechet (2-Wasserstein) distance of two Gaussians; means (D,), covariances (D, D).

    |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)   (Dowson and Landau, 1982), in float64.

    The last trace is the sum of the singular values of A^1/2 B^1/2, which takes no root of a product
    and so stays accurate for singular covariances.
    """
    mean_a, cov_a, mean_b, cov_b = (v.double() for v in (mean_a, cov_a, mean_b, cov_b))
    cross = torch.linalg.svdvals(_symmetric_root(cov_a) @ _symmetric_root(cov_b)).sum()
    return (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2.0 * cross


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0.0).sqrt()) @ vectors.mT


class PermutationResult(NamedTuple):
    """A p-value (the chance of a statistic this large under the null hypothesis) and the statistic."""

    p_value: float
    statistic: float


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate of E(P, Q) from samples x (n, *shape) of P and y (m, *shape) of Q."""
    pooled, n = torch.cat((x, y)).flatten(1).double(), len(x)
    inside = torch.zeros(len(pooled), 1, dtype=torch.float64, device=pooled.device)
    inside[:n] = 1.0
    return _energy(torch.cdist(pooled, pooled), inside)[0]


def energy_test(x: Tensor, y: Tensor, rng: Noise, permutations: int = 999) -> PermutationResult:
    """Are x (n, *shape) and y (m, *shape) samples of one distribution? A small p-value says no.

    The statistic is their energy distance. Exact: under the null hypothesis P(p <= alpha) <= alpha.
    Memory is (n + m)^2 float64.
    """
    pooled, n = torch.cat((x, y)).flatten(1).double(), len(x)
    values = _energy(torch.cdist(pooled, pooled), _splits(len(pooled), n, rng, permutations).to(pooled.device))
    return _one_sided(values)


def closer_test(a: Tensor, b: Tensor, data: Tensor, rng: Noise, permutations: int = 999) -> PermutationResult:
    """Are samples `a` (n, *shape) closer to `data` (k, *shape) than samples `b` (m, *shape)?

    The statistic is E(b, data) - E(a, data). Its null distribution, that a and b come from one
    distribution, is that of permuted a and b; a small p-value says that a is closer.
    """
    pooled, n = torch.cat((a, b)).flatten(1).double(), len(a)
    to_data = torch.cdist(pooled, data.flatten(1).double()).mean(1)
    among = torch.cdist(pooled, pooled)
    in_a = _splits(len(pooled), n, rng, permutations).to(pooled.device)
    in_b = 1.0 - in_a
    distance_a = 2.0 * (to_data @ in_a) / n - _spread(among, in_a)  # less the data's own spread, which cancels
    distance_b = 2.0 * (to_data @ in_b) / len(b) - _spread(among, in_b)
    return _one_sided(distance_b - distance_a)


def _splits(total: int, n: int, rng: Noise, permutations: int) -> Tensor:
    """(total, 1 + permutations) indicators of the first sample: as given, then n random ones a column."""
    order = Rng(rng.seed, "cpu", rng.offset).uniform("permutations", permutations, (total,), torch.float64).argsort(1)
    inside = torch.zeros(1 + permutations, total, dtype=torch.float64)
    inside[0, :n] = 1.0
    inside[1:].scatter_(1, order[:, :n], 1.0)
    return inside.T


def _spread(distances: Tensor, inside: Tensor) -> Tensor:
    """The mean distance of two different samples inside, for each column of `inside`."""
    n = inside.sum(0)
    return (inside * (distances @ inside)).sum(0) / (n * (n - 1.0))


def _energy(distances: Tensor, inside: Tensor) -> Tensor:
    """The energy distance of each column's inside and outside."""
    outside = 1.0 - inside
    between = (outside * (distances @ inside)).sum(0) / (inside.sum(0) * outside.sum(0))
    return 2.0 * between - _spread(distances, inside) - _spread(distances, outside)


def _one_sided(values: Tensor) -> PermutationResult:
    """Where the first value stands among the others; it counts itself, so that p is never 0."""
    # Permutations that change nothing must count as ties although their sums round differently.
    tie = values[0] - 1e-12 * values.abs().max()
    return PermutationResult(float((values >= tie).double().mean()), float(values[0]))
