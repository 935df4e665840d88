r"""Distributions of discrete columns that are a tree of pairs, as in MST (McKenna, Miklau and Sheldon, 2021).

For a tree with root r and the parent pi(j) of each other column,

    p(x) = p(x_r) prod_j p(x_j | x_pi(j))

is the distribution of largest entropy among those with the given marginals of its edges. Measured marginals carry
noise: they disagree about the columns that they share, and have negative entries. `consistent` brings a pair to
given marginals of its two columns by iterative proportional fitting (Deming and Stephan, 1940).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDS = 50


def positive(counts: Tensor, total: float) -> Tensor:
    """The nearest frequencies to noisy `counts` (K,), in squares, that are not negative and add up to `total`."""
    ordered = counts.sort(descending=True).values
    excess = (ordered.cumsum(0) - total) / torch.arange(1, len(counts) + 1, dtype=counts.dtype)
    kept = int((ordered > excess).sum())
    return (counts - excess[max(kept - 1, 0)]).clamp_min(0.0)


def smoothed(counts: Tensor, noise: float, telling: float = 2.5) -> Tensor:
    """(K,) noisy `counts` of neighboring codes, with halves of an interval that do not differ made even.

    An interval is cut where the means of its two halves, of k and l codes with independent noise, differ by more than
    telling * noise * (1/k + 1/l)^(1/2), or where one of its halves is cut. This is a Haar wavelet with a hard threshold
    that keeps what lies above a kept coefficient (Donoho and Johnstone, 1994).
    """
    below = torch.cat((counts.new_zeros(1), counts.cumsum(0)))

    def parts(low: int, high: int) -> list[tuple[int, int]]:
        """The intervals that [low, high) is cut into."""
        if high - low == 1:
            return [(low, high)]
        middle = (low + high) // 2
        left, right = parts(low, middle), parts(middle, high)
        k, l = middle - low, high - middle  # noqa: E741
        means = (below[middle] - below[low]) / k - (below[high] - below[middle]) / l
        differ = float(means.abs()) > telling * noise * (1.0 / k + 1.0 / l) ** 0.5
        return left + right if differ or len(left) > 1 or len(right) > 1 else [(low, high)]

    found = torch.empty_like(counts)
    for low, high in parts(0, len(counts)):
        found[low:high] = (below[high] - below[low]) / (high - low)
    return found


def shrunk(counts: Tensor, expected: Tensor, noise: float) -> Tensor:
    """Noisy `counts` (K, L), drawn towards those that are `expected` of independent columns.

    The difference d = counts - expected is multiplied by max(0, 1 - K L noise^2 / |d|^2), the positive part of James
    and Stein's factor (1961): where noise explains all of d, nothing is left of it.
    """
    difference = counts - expected
    squares = float(difference.square().sum())
    factor = max(0.0, 1.0 - difference.numel() * noise**2 / squares) if squares > 0.0 else 0.0
    return expected + factor * difference


def consistent(pair: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A joint distribution (K, L) near the noisy counts `pair`, with the marginals `rows` (K,) and `columns` (L,).

    Both marginals add up to 1. A little of their product is mixed in, so that no conditional distribution is empty.
    """
    product = rows[:, None] * columns
    joint = positive(pair.flatten(), max(float(pair.sum()), 1.0)).view_as(pair)
    joint = 0.999 * joint / joint.sum() + 0.001 * product
    for _ in range(ROUNDS):
        joint = joint * (rows / joint.sum(1).clamp_min(1e-30))[:, None]
        joint = joint * (columns / joint.sum(0).clamp_min(1e-30))
    return joint


def merged(counts: Tensor, least: float, ordered: bool) -> Tensor:
    """(K,) int64: groups of codes whose noisy `counts` (K,) are too small to tell anything alone.

    ordered  codes are numbers: neighbors are pooled until a group has `least`; else all small codes form one group
    """
    if not ordered:
        small = counts < least
        group = (~small).long().cumsum(0) - 1
        return torch.where(small, int((~small).sum()), group)
    group, at, held = torch.zeros(len(counts), dtype=torch.int64), 0, 0.0
    for k, count in enumerate(counts.tolist()):
        if held >= least:
            at, held = at + 1, 0.0
        group[k], held = at, held + count
    if at and held < least:  # the last group is too small: it joins the one before
        group[group == at] = at - 1
    return group


def oriented(edges: Sequence[tuple[int, int]], columns: int, root: int) -> tuple[list[int], list[int]]:
    """The order in which the columns of a tree are drawn, the root first, and the parent of each; -1 for the root."""
    order, parents = [root], [-1] * columns
    for column in order:
        for a, b in edges:
            for here, there in ((a, b), (b, a)):
                if here == column and there not in order:
                    parents[there] = column
                    order.append(there)
    return order, parents
