"""Mixtures of Gaussians between which the true Frechet distance and kernel distance are known in closed form."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.rng import Rng


class Mixture(NamedTuple):
    """sum_k w_k N(m_k, R_k R_k^T): weights (K,), means (K, D), roots (K, D, D)."""

    weights: Tensor
    means: Tensor
    roots: Tensor

    def draw(self, rng: Rng, name: str, n: int) -> Tensor:
        z = rng.normal(name, n, (self.means.shape[1],), dtype=torch.float64)
        u = rng.uniform(name + " component", n, dtype=torch.float64)
        k = torch.searchsorted(self.weights.cumsum(0), u).clamp_max(len(self.weights) - 1)
        x = torch.empty_like(z)
        for c in range(len(self.weights)):
            x[k == c] = self.means[c] + z[k == c] @ self.roots[c].mT
        return x

    def moments(self) -> tuple[Tensor, Tensor]:
        mean = self.weights @ self.means
        c = self.means - mean
        within = (self.weights[:, None, None] * (self.roots @ self.roots.mT)).sum(0)
        return mean, within + (self.weights[:, None] * c).mT @ c


def kernel_mean(p: Mixture, q: Mixture) -> float:
    """E (X.Y / D + 1)^3 in closed form, from the third moments of pairs of Gaussians."""
    total, d = 0.0, p.means.shape[1]
    for w, m, r in zip(*p, strict=True):
        for v, u, s in zip(*q, strict=True):
            a, b, dot = r @ r.mT, s @ s.mT, m @ u
            second = ((a + torch.outer(m, m)) * (b + torch.outer(u, u))).sum()
            third = dot**3 + 3 * dot * (m @ b @ m + u @ a @ u) + 3 * dot * (a * b).sum() + 6 * (m @ b @ a @ u)
            total += float(w * v * (1 + 3 * dot / d + 3 * second / d**2 + third / d**3))
    return total


def mmd(p: Mixture, q: Mixture) -> float:
    return kernel_mean(p, p) + kernel_mean(q, q) - 2.0 * kernel_mean(p, q)


def gaussian(d: int, decay: float = 0.0, scale: float = 1.0, shift: float = 0.0, turn: int | None = None) -> Mixture:
    """Standard deviations scale i^(-decay / 2), mean `shift` along the diagonal, turned by a small random rotation."""
    root = torch.diag(scale * torch.arange(1, d + 1, dtype=torch.float64) ** (-0.5 * decay))
    if turn is not None:
        noise = Rng(turn).normal("turn", d, (d,), dtype=torch.float64)
        root = torch.linalg.matrix_exp(0.03 * (noise - noise.mT)) @ root
    return Mixture(torch.ones(1, dtype=torch.float64), torch.full((1, d), shift / math.sqrt(d)).double(), root[None])


def clusters(d: int, seed: int, gap: float = 0.0) -> Mixture:
    """Three Gaussians of unlike weights, places and shapes."""
    rng = Rng(seed)
    means = 1.5 * rng.normal("means", 3, (d,), dtype=torch.float64) + gap
    roots = torch.eye(d).double() + 0.3 * rng.normal("roots", 3, (d, d), dtype=torch.float64) / math.sqrt(d)
    return Mixture(torch.tensor([0.5, 0.3, 0.2]).double(), means, roots)


PAIRS: dict[str, tuple[Mixture, Mixture]] = {
    "equal Gaussians, D = 32": (gaussian(32, 1.0), gaussian(32, 1.0)),
    "Gaussians apart, D = 32": (gaussian(32, 1.0), gaussian(32, 1.0, 1.1, 0.3, turn=1)),
    "equal mixtures, D = 16": (clusters(16, 1), clusters(16, 1)),
    "mixtures apart, D = 16": (clusters(16, 1), clusters(16, 1, gap=0.1)),
    "whitened, equal, D = 64": (gaussian(64), gaussian(64)),
}
