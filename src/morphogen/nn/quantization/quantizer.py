r"""Quantizers turn a vector into one or several integers, and these into a vector close to it.

`Codebook` (VQ; van den Oord et al., 2017) maps z to the nearest of K learned vectors. With R residual levels (Zeghidour
et al., 2021; Lee et al., 2022) each level has its own codebook for the remainder of the levels before:

    rho_1 = z,    k_r = argmin_k |rho_r - e_rk|^2,    rho_{r+1} = rho_r - e_{r, k_r},    z_q = sum_r e_{r, k_r}.

The vectors have no gradient. They are exponential averages of the vectors that were assigned to them (van den Oord et
al., 2017, appendix; Razavi et al., 2019): with n_k vectors of sum s_k assigned to code k in a step, and decay d,

    N_k <- d N_k + (1 - d) n_k,    m_k <- d m_k + (1 - d) s_k,    e_k = m_k / N_k,

the online form of k-means. The code stores only N_k and e_k, with e_k <- e_k + (1 - d)(s_k - n_k e_k) / N_k, so values
cannot vanish or drift apart. A code is dead if its N_k falls below a share of the mean. It moves to an encoder output
of the current step, drawn with probability proportional to the squared error there, as in the seeding of k-means++
(Arthur and Vassilvitskii, 2007). Almost all codes of a new codebook are dead, so it is initialized in the same way.

`FSQ` (finite scalar quantization; Mentzer et al., 2023) has no codebook to learn. tanh bounds each of a few dimensions
to (-1, 1), and this interval is cut into L equal cells; each cell is represented by its center. Residual levels cut
each cell again, so they are the digits in base L of one fine cell. (The paper has end points at -1 and 1, with half
cells there. Centers give equal cells and refine evenly.)

The derivative of a step function is 0, so both pass the gradient at z_q straight through to z.
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
    """codes (..., R) int64; value (..., D), with its gradient passed to z; error (...) = |z - sg(value)|^2."""

    codes: Tensor
    value: Tensor
    error: Tensor


class Codebook(nn.Module):
    """Vectors (..., dim) to `residual` codes in 0 .. `size` - 1; see the module's docstring.

    decay      d of the averages
    dead_below a code is dead if its N_k is below this share of the mean

    A training step calls `observe` for each part of its batch and then `commit` once. The vectors do not change in
    between, so all parts use the same vectors, for every split of the batch.
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

        The keys -log(u) / w, with w the squared error, order the vectors as successive draws with probabilities
        proportional to w (Efraimidis and Spirakis, 2006). The best of all parts are among the best of each part, so the
        candidates do not depend on how a batch is split.
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
        """Update the averages by the observations of all parts in all processes; a second call has no effect."""
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
        self.counts.copy_(torch.where(revived, mean, self.counts))  # a new chance

    def _parts(self, seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Views of the observations: n (..., K), s - n e (..., K, dim), keys (..., K), candidates (..., K, dim)."""
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

    The trainer averages only gradients over processes, and not these statistics. Processes must share them before the
    vectors change, as `SyncBatchNorm` shares batch statistics. Otherwise each process would have another codebook.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return tensor[None]
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor)
    return torch.stack(parts)
