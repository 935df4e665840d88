r"""Quantizers: a vector becomes one or several integers, and these a vector close to it.

`Codebook` (VQ; van den Oord et al., 2017) takes z to the nearest of K learned vectors. With R residual levels
(Zeghidour et al., 2021; Lee et al., 2022) each level has a codebook of its own, for what the levels before have left:

    rho_1 = z,    k_r = argmin_k |rho_r - e_rk|^2,    rho_{r+1} = rho_r - e_{r, k_r},    z_q = sum_r e_{r, k_r}.

The vectors learn by no gradient. They are exponential averages of what was assigned to them (van den Oord et al.,
2017, appendix; Razavi et al., 2019): with n_k vectors of sum s_k assigned to code k in a step, and decay d,

    N_k <- d N_k + (1 - d) n_k,    m_k <- d m_k + (1 - d) s_k,    e_k = m_k / N_k,

which is the online form of k-means, and is kept here as N_k and e_k alone, e_k <- e_k + (1 - d)(s_k - n_k e_k) / N_k:
nothing can vanish or drift apart. A code whose N_k falls below a share of the mean one is dead. It is put at an output
of the current step, drawn with probability proportional to the squared error there, as k-means++ seeds its
centers (Arthur and Vassilvitskii, 2007). A new codebook is dead almost entirely, and begins in this way too.

`FSQ` (finite scalar quantization; Mentzer et al., 2023) has nothing to learn: tanh bounds each of a few dimensions to
(-1, 1), which is cut into L equal cells, each standing for its center. Residual levels cut each cell again, so that
they are the digits in base L of one fine cell. (The paper's end points are at -1 and 1, with half cells there. Centers
halve nothing and refine evenly.)

The derivative of a step is 0, so both pass the gradient at z_q straight through to z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

NEVER = math.inf  # the key of a place without candidate


class Quantized(NamedTuple):
    """codes (..., R) int64; value (..., D), whose gradient passes to z; error (...) = |z - sg(value)|^2."""

    codes: Tensor
    value: Tensor
    error: Tensor


class Codebook(nn.Module):
    """Vectors (..., dim) to `residual` codes in 0 .. `size` - 1; see the module's docstring.

    decay      d of the averages
    dead_below share of the mean N_k under which a code is dead

    A training step calls `observe` for each part of its batch and then `commit` once. In between nothing changes, so
    all parts see the same vectors, however the batch is split.
    """

    vectors: Tensor
    counts: Tensor
    _seen: Tensor

    def __init__(
        self, size: int, dim: int, residual: int = 1, *, decay: float = 0.99, dead_below: float = 0.03
    ) -> None:
        super().__init__()
        self.size, self.dim, self.residual, self.decay, self.dead_below = size, dim, residual, decay, dead_below
        self.register_buffer("vectors", torch.randn(residual, size, dim))  # e
        self.register_buffer("counts", torch.zeros(residual, size))  # N
        # For each code: n_k and s_k - n_k e_k of this step; and a list of candidates with their keys, the best first.
        self.register_buffer("_seen", torch.zeros(residual, size, 2 + 2 * dim), persistent=False)
        self._waiting = False

    def forward(self, z: Tensor) -> Quantized:
        with torch.autocast(z.device.type, enabled=False):  # bf16 would choose other codes than evaluation does
            z = z.to(self.vectors.dtype)
            rho, codes = z.detach().reshape(-1, self.dim), []
            for e in self.vectors:
                codes.append(torch.addmm(e.square().sum(-1), rho, e.T, alpha=-2.0).argmin(-1))
                rho = rho - e[codes[-1]]
            stacked = torch.stack(codes, dim=-1).unflatten(0, z.shape[:-1])
            return _straight_through(z, z.detach() - rho.view_as(z), stacked)

    def lookup(self, codes: Tensor) -> Tensor:
        """z_q (..., dim) of codes (..., R)."""
        return torch.stack([e[codes[..., r]] for r, e in enumerate(self.vectors)]).sum(0)

    def table(self) -> Tensor:
        """The vectors (R, size, dim) shifted and scaled to mean 0 and variance 1 at each level."""
        e = self.vectors - self.vectors.mean(1, keepdim=True)
        return e / e.square().mean((1, 2), keepdim=True).clamp_min(1e-12).sqrt()

    @torch.no_grad()
    def observe(self, z: Tensor, codes: Tensor, uniform: Tensor) -> None:
        """Count vectors z (T, dim) with their codes (T, R); `uniform` (T, R) on (0, 1) draws candidates for dead codes.

        The keys -log(u) / w, with w the squared error, put the vectors in the order of successive draws with
        probabilities proportional to w (Efraimidis and Spirakis, 2006). The best of some parts are found among the
        best of each, so the candidates do not depend on how a batch is split.
        """
        if not self._waiting:
            self._seen.zero_()[..., 1 + self.dim] = NEVER
        rho = z.to(self.vectors.dtype)
        for r, e in enumerate(self.vectors):
            n, moved, keys, candidates = self._parts(self._seen[r])
            here, k = rho, codes[:, r]
            rho = here - e[k]
            n.index_add_(0, k, torch.ones_like(k, dtype=n.dtype))
            moved.index_add_(0, k, rho)
            new = -torch.log(uniform[:, r].to(rho.dtype)) / rho.square().sum(-1).clamp_min(1e-12)
            best, order = torch.cat((keys, new)).sort(stable=True)
            candidates.copy_(torch.cat((candidates, here))[order[: self.size]])
            keys.copy_(best[: self.size])
        self._waiting = True

    @torch.no_grad()
    def commit(self) -> None:
        """Let the averages follow what all parts in all processes have observed; nothing if that is done already."""
        if not self._waiting:
            return
        self._waiting = False
        seen = _of_all_processes(self._seen)  # (processes, R, K, ...)
        n, moved, keys, candidates = self._parts(seen)
        self.counts.mul_(self.decay).add_(n.sum(0), alpha=1.0 - self.decay)
        smallest = torch.finfo(self.counts.dtype).tiny
        self.vectors.add_((1.0 - self.decay) * moved.sum(0) / self.counts.clamp_min(smallest)[..., None])
        mean = self.counts.mean(-1, keepdim=True)
        dead = self.counts < self.dead_below * mean
        # The i-th dead code of a level takes the i-th candidate, if there are so many.
        keys, order = keys.movedim(0, 1).flatten(1).sort(stable=True)
        i = dead.cumsum(-1) - 1
        taken = order.gather(-1, i.clamp_min(0))
        revived = dead & (keys.gather(-1, i.clamp_min(0)) < NEVER)
        found = candidates.movedim(0, 1).flatten(1, 2).gather(1, taken[..., None].expand_as(self.vectors))
        self.vectors.copy_(torch.where(revived[..., None], found, self.vectors))
        self.counts.copy_(torch.where(revived, mean, self.counts))  # time to prove itself

    def _parts(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Views of what was seen: n (..., K), s - n e (..., K, dim), keys (..., K), candidates (..., K, dim)."""
        n, moved, keys, candidates = seen.split((1, self.dim, 1, self.dim), dim=-1)
        return n.squeeze(-1), moved, keys.squeeze(-1), candidates


class FSQ(nn.Module):
    """Vectors (..., D) to `residual` codes in 0 .. `size` - 1, size = prod(levels); see the module's docstring."""

    cells: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int], residual: int = 1) -> None:
        super().__init__()
        self.size, self.dim, self.residual = math.prod(levels), len(levels), residual
        self.register_buffer("cells", torch.tensor(levels), persistent=False)
        places = torch.tensor([math.prod(levels[:i]) for i in range(len(levels))])
        self.register_buffer("places", places, persistent=False)  # code = sum_i places_i digit_i

    def forward(self, z: Tensor) -> Quantized:
        z = z.to(torch.promote_types(z.dtype, torch.float32)).tanh()
        at = 0.5 * (z.detach() + 1.0)  # in [0, 1], counted in cells of the level before
        codes = []
        for _ in range(self.residual):
            at = at * self.cells
            digits = at.floor().long().clamp_min(0).minimum(self.cells - 1)  # rounding may give z = 1
            at = at - digits
            codes.append((digits * self.places).sum(-1))
        stacked = torch.stack(codes, dim=-1)
        return _straight_through(z, self.lookup(stacked).to(z.dtype), stacked)

    def lookup(self, codes: Tensor) -> Tensor:
        """z_q (..., D) of codes (..., R)."""
        digits = codes[..., None] // self.places % self.cells  # (..., R, D)
        at = torch.full(digits.shape[:-2] + digits.shape[-1:], 0.5, device=codes.device)  # a cell's center
        for r in reversed(range(self.residual)):
            at = (digits[..., r, :] + at) / self.cells
        return 2.0 * at - 1.0

    def table(self) -> Tensor:
        """The centers of the cells (R, size, D) at mean 0 and variance 1, within a cell of the level before."""
        digits = torch.arange(self.size, device=self.cells.device)[:, None] // self.places % self.cells
        at = (digits - 0.5 * (self.cells - 1)) / ((self.cells.square() - 1) / 12.0).sqrt()
        return at.expand(self.residual, -1, -1)


def usage(codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Share of codes in use and perplexity exp(-sum_k p_k log p_k), each (R,), of codes (..., R) at each level."""
    each = codes.flatten(0, -2).T
    p = torch.stack([torch.bincount(k, minlength=size) for k in each]).float() / each.shape[1]
    return (p > 0).float().mean(-1), torch.exp(-torch.special.xlogy(p, p).sum(-1))


def _straight_through(z: Tensor, value: Tensor, codes: Tensor) -> Quantized:
    return Quantized(codes, z + (value - z).detach(), (z - value).square().sum(-1))


def _of_all_processes(tensor: Tensor) -> Tensor:
    """The tensors of all processes, (processes, *shape), in the order of their ranks.

    The trainer averages gradients over processes, and these statistics are none. They must be shared before the
    vectors move, as batch statistics are by `SyncBatchNorm`, or each process would end with another codebook.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return tensor[None]
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor)
    return torch.stack(parts)
