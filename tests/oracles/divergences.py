"""Divergences in closed form, which tests compare with."""

from __future__ import annotations

import torch
from torch import Tensor


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


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """The unbiased estimate of 2 E|X - Y| - E|X - X'| - E|Y - Y'| from samples x (n, D) of P and y (m, D) of Q."""
    x, y = x.double(), y.double()
    within = [torch.cdist(s, s).sum() / (len(s) * (len(s) - 1)) for s in (x, y)]
    return 2.0 * torch.cdist(x, y).mean() - within[0] - within[1]
