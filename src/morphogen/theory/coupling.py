"""Pair records with noises: optimal transport between a batch of records and a batch of noise.

Flow matching uses straight lines from noise to records. Lines between independent pairs cross, and the velocity at a
crossing is a mean of directions. If the pairs minimize sum_i |x_i - eps_pi(i)|^2 instead, the lines of one batch do not
cross. The paths of the flow become straighter, so fewer steps can follow them (Tong et al., "Improving and generalizing
flow-based generative models with minibatch optimal transport", 2024; Pooladian et al., 2023). Every record and every
noise still occurs once, so the marginals over batches do not change.

Given a condition c they change: a record of class c gets the nearest noise among *all* noises. The noise given c is
then not standard normal, but sampling starts from a standard normal. Pairing only within each group of equal conditions
keeps the distributions of x and eps given c.

`assignment` solves the assignment problem exactly by shortest augmenting paths (Jonker and Volgenant, 1987; Crouse,
2016): with dual variables for which cost[i, j] - u_i - v_j >= 0, and = 0 on the pairs so far, each further row is
matched along a path of least reduced cost, found by Dijkstra's algorithm.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import UsageError


def optimal_coupling(x: Tensor, eps: Tensor, groups: Tensor | None = None) -> Tensor:
    """The permutation pi (n,) int64 that minimizes sum_i |x_i - eps_pi(i)|^2, for x and eps (n, *shape).

    `groups` (n,) int64 restricts it to pairs of equal group: that of x_i is the one of eps_i. O(n^3) at worst, on the
    CPU: milliseconds for 128 pictures.
    """
    a, b = x.detach().flatten(1).double(), eps.detach().flatten(1).double()
    cost = -(a @ b.T).cpu()  # |x|^2 and |eps|^2 are in every coupling
    if groups is None:
        return assignment(cost).to(x.device)
    pi = torch.arange(len(x))
    for group in groups.cpu().unique():
        rows = torch.nonzero(groups.cpu() == group)[:, 0]
        pi[rows] = rows[assignment(cost[rows][:, rows])]
    return pi.to(x.device)


def assignment(cost: Tensor) -> Tensor:
    """The permutation pi (n,) int64 on the CPU that minimizes sum_i cost[i, pi(i)], for cost (n, n).

    Raises `UsageError` for a matrix that is not square or not finite.
    """
    c = cost.detach().to("cpu", torch.float64).numpy()
    if c.ndim != 2 or c.shape[0] != c.shape[1] or not np.isfinite(c).all():
        raise UsageError(f"an assignment needs a square matrix of finite costs, not one of shape {c.shape}.")
    n = len(c)
    u = c.min(1, initial=np.inf)
    v = (c - u[:, None]).min(0, initial=np.inf)
    column_of, row_of = np.full(n, -1), np.full(n, -1)
    for i, tight in enumerate(c - u[:, None] - v <= 0.0):  # most rows find a free column of no reduced cost
        free = np.flatnonzero(tight & (row_of < 0))
        if len(free):
            column_of[i], row_of[free[0]] = free[0], i
    for left in np.flatnonzero(column_of < 0).tolist():
        _augment(c, left, u, v, column_of, row_of)
    return torch.from_numpy(column_of)


def _augment(
    c: np.ndarray, start: int, u: np.ndarray, v: np.ndarray, column_of: np.ndarray, row_of: np.ndarray
) -> None:
    """Match row `start` along a shortest path to a free column; updates the duals and the matching in place."""
    n = len(c)
    distance, before = np.full(n, np.inf), np.full(n, -1)
    reached, rows = np.zeros(n, dtype=bool), [start]
    i, low = start, 0.0
    while True:
        through = low + c[i] - u[i] - v
        nearer = (through < distance) & ~reached
        distance[nearer], before[nearer] = through[nearer], i
        j = int(np.where(reached, np.inf, distance).argmin())
        low, reached[j] = distance[j], True
        if row_of[j] < 0:
            break
        i = int(row_of[j])
        rows.append(i)
    u[start] += low
    others = rows[1:]
    u[others] += low - distance[column_of[others]]
    v[reached] -= low - distance[reached]
    while True:  # turn the path around
        i = int(before[j])
        row_of[j] = i
        column_of[i], j = j, int(column_of[i])
        if i == start:
            return
