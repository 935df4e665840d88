r"""Absorbing-state discrete diffusion: tokens are hidden one by one until none is seen (Austin et al., 2021).

At time t each token of x is hidden with probability t, independently. With conditionals p(x_i | x_seen) of a network,

    -log p(x) <= int_0^1 1/t E[ sum_{i hidden} -log p(x_i | x_seen) ] dt                  (Sahoo et al., 2024).

The number of hidden ones alone matters: of n tokens a set H with m = |H| is hidden at a rate that integrates to

    int_0^1 t^{m-1} (1 - t)^{n-m} dt = (m - 1)! (n - m)! / n! = 1 / (m C(n, m)),

so the bound is an expectation over m uniform on 1 .. n and a uniform set of m places,

    E_m E_H[ (n / m) sum_{i in H} -log p(x_i | x_{not H}) ].

It is the mean over all orders of the tokens of -log prod p(x_i | those before it). Each order's product is a
distribution of x, so by Jensen's inequality the bound holds for their average, which is what sampling in a random order
draws from. With the conditionals of one distribution all orders give its log p(x), and the bound is tight.
"""

from __future__ import annotations

import torch
from torch import Tensor


def hidden_count(u: Tensor, n: Tensor) -> Tensor:
    """m, uniform on 1 .. n, for u uniform on (0, 1): (B,); 0 where n is 0."""
    return torch.minimum((u * n).long() + 1, n.long())


def ranks(noise: Tensor, keep: Tensor) -> Tensor:
    """A random order of the places kept: the rank 0 .. n-1 of each of (B, D), and D for those that are not kept."""
    order = torch.where(keep, noise, torch.inf).argsort(dim=-1, stable=True)
    rank = torch.empty_like(order).scatter_(
        -1, order, torch.arange(noise.shape[-1], device=noise.device).expand_as(order)
    )
    return torch.where(keep, rank, noise.shape[-1])


def bound_weight(n: Tensor, m: Tensor) -> Tensor:
    """n / m, the factor of the sum over the hidden tokens; 0 where there is no token."""
    return torch.where(m > 0, n.double() / m.clamp_min(1), 0.0)


def revealed_between(rank: Tensor, n: Tensor, step: int, steps: int) -> Tensor:
    """The places (B, D) that step `step` of `steps` reveals: an even share of the n tokens, in the order of ranks."""
    low, high = (n * step) // steps, (n * (step + 1)) // steps
    return (rank >= low[:, None]) & (rank < high[:, None])
