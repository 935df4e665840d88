"""Inversion: find the latents of given records under a generator, by gradient descent (Zhu et al., 2016).

For each record an energy E(z) is minimized over z. It has many local minima, so the descent begins at several latents,
and after a quarter of the steps only the best one continues. The steps are those of Adam (Kingma and Ba, 2015), with a
rate that falls to 0 by a cosine. Adam scales each element by its own gradients, so the result for a record does not
depend on other records of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

RATE = 0.1  # in standard deviations of z
Energy = Callable[[Tensor, Tensor], Tensor]


def inverted(energy: Energy, records: int, starts: Tensor, steps: int) -> Tensor:
    """Find latents (records, D) of low energy, without gradients. All records share the `starts` (K, D).

    `energy(z, rows)` returns the energies (M,) of latents z (M, D) for the records `rows` (M,). It is evaluated for
    `steps` (1 + (K - 1) / 4) latents per record, each with a gradient.
    """
    k, first = len(starts), steps // 4 if len(starts) > 1 else 0
    rows = torch.arange(records, device=starts.device)
    many = rows.repeat_interleave(k)
    z = descended(energy, starts.repeat(records, 1), many, first)
    with torch.no_grad():
        best = energy(z, many).view(-1, k).argmin(1)
    return descended(energy, z.view(records, k, -1)[rows, best], rows, steps - first)


def descended(energy: Energy, z: Tensor, rows: Tensor, steps: int) -> Tensor:
    """`z` (M, D) after `steps` steps of descent."""
    with torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([z], lr=RATE)
        for i in range(steps):
            optimizer.param_groups[0]["lr"] = 0.5 * RATE * (1.0 + math.cos(math.pi * i / steps))
            (z.grad,) = torch.autograd.grad(energy(z, rows).sum(), z)
            optimizer.step()
    return z.detach()
