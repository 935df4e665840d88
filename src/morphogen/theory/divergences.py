"""How far apart two Gaussians are, in closed form."""

from __future__ import annotations

import torch
from torch import Tensor


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
