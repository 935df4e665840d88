"""The Frechet distance of two samples to second order in their empirical distributions: every term, record by record.

The formulas are those of `evaluation/metrics/frechet.py`: coordinates p and q that whiten each sample and diagonalize
the transport between both, the influence l of a record, and its features z, whose products with those of others are the
terms of pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import torch
from torch import Tensor

_SINGULAR = 1e-10  # variances below this share of the largest are zero


class Moments(NamedTuple):
    """n, the sum (D,) and the sum of products (D, D) of centered records; centering keeps the products accurate."""

    n: int
    center: Tensor
    first: Tensor
    second: Tensor

    @staticmethod
    def of(x: Tensor, center: Tensor | None = None) -> Moments:
        center = x.mean(0) if center is None else center
        c = x - center
        return Moments(len(x), center, c.sum(0), c.T @ c)

    def less(self, other: Moments) -> Moments:
        """The moments without the records of `other`, which has the same center."""
        return Moments(self.n - other.n, self.center, self.first - other.first, self.second - other.second)

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """The mean (D,) and the unbiased covariance (D, D)."""
        mean = self.first / self.n
        return mean + self.center, (self.second - self.n * torch.outer(mean, mean)) / (self.n - 1)


@final
@dataclass(frozen=True)
class Side:
    """One of the two samples: its records, centered (N, D) and whitened (N, D), and the way to the other mean (D,).

    s       (D,) the singular values; weight (D, D) is w_ij = s_i s_j / (s_i + s_j)
    """

    own: Tensor
    whitened: Tensor
    gap: Tensor
    s: Tensor
    weight: Tensor

    @cached_property
    def influence(self) -> Tensor:
        """l (N,), without its mean taken off."""
        return 2.0 * (self.own @ self.gap) + self.own.square().sum(1) - self.whitened.square() @ self.s

    @cached_property
    def squares(self) -> Tensor:
        """|z|^2 (N,)."""
        return self._dots(self.own, self.whitened, 0.0)

    @cached_property
    def neighbors(self) -> Tensor:
        """z . z' (N,) of each record and the next, each product raised by the leverages of both."""
        tiny = torch.finfo(self.s.dtype).tiny
        squares = self.whitened.square()
        h = ((squares @ self.weight) * squares).sum(1)
        h = h / ((squares @ self.weight.diagonal()).clamp_min(tiny) * (len(squares) - 1))
        rest = (1.0 - h).clamp_min(0.5)  # a record with a larger leverage does not inform about pairs
        leverage = 1.0 - (rest * rest.roll(1, 0)).sqrt()
        return self._dots(self.own.roll(1, 0), self.whitened.roll(1, 0), leverage)

    def across(self, other: Side) -> Tensor:
        """z . z' of the i-th records of both sides, as many as the shorter one has."""
        n = min(len(self.own), len(other.own))
        return Side(self.own[:n], self.whitened[:n], self.gap, self.s, self.weight)._dots(
            other.own[:n], other.whitened[:n], 0.0
        )

    def _dots(self, other: Tensor, whitened: Tensor, leverage: Tensor | float) -> Tensor:
        diagonal, products = self.weight.diagonal(), self.whitened * whitened
        squares = self.whitened.square() @ diagonal + whitened.square() @ diagonal - diagonal.sum()
        quartic = ((products @ self.weight) * products).sum(1) / (1.0 - leverage)
        return 0.5 * (quartic - squares) + (self.own * other).sum(1)


class Expansion(NamedTuple):
    """Both samples, and the plain distance of their Gaussians."""

    a: Side
    b: Side
    plain: float


def expanded(a: Tensor, b: Tensor, one: Moments, other: Moments) -> Expansion:
    """The expansion for the records a (N, D) and b (M, D), and their moments."""
    (mean_a, cov_a), (mean_b, cov_b) = one.gaussian(), other.gaussian()
    root_a, inverse_a = _roots(cov_a)
    root_b, inverse_b = _roots(cov_b)
    u, s, vh = torch.linalg.svd(root_a @ root_b)
    weight = torch.outer(s, s) / (s[:, None] + s).clamp_min(torch.finfo(s.dtype).tiny)  # 0 if both s are 0
    x, y, gap = a - mean_a, b - mean_b, mean_a - mean_b
    plain = float(gap.square().sum() + cov_a.trace() + cov_b.trace() - 2.0 * s.sum())
    return Expansion(
        Side(x, x @ (inverse_a @ u), gap, s, weight), Side(y, y @ (inverse_b @ vh.mT), -gap, s, weight), plain
    )


def _roots(cov: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric root of a covariance and its pseudo-inverse: a constant feature has no direction to whiten."""
    values, vectors = torch.linalg.eigh(cov)
    roots = values.clamp_min(0.0).sqrt()
    inverse = torch.where(values > _SINGULAR * values[-1].clamp_min(0.0), 1.0 / roots, torch.zeros_like(roots))
    return (vectors * roots) @ vectors.mT, (vectors * inverse) @ vectors.mT
