"""Ladders of latents: a bottom-up network that reads a picture, and a top-down one that draws and infers.

The latents come in groups z_1, ..., z_K, grids of a few channels at resolutions that rise with k, and

    p(x, z) = p(x | z) prod_k p(z_k | z_<k),    q(z | x) = prod_k q(z_k | x, z_<k).

Both products share one pass from the coarsest grid to the finest (Sonderby et al., "Ladder variational autoencoders",
2016; Kingma et al., 2016). The state h is a function of z_<k. The prior of z_k is a function of h; its posterior is a
function of h and the bottom-up features at that resolution. The drawn z_k is added to h, and a residual block follows
(Child, "Very deep VAEs generalize autoregressive models and can outperform them on images", 2021).

There is no normalization. Three things keep many groups stable: the last layer of each block starts at zero, the first
layer of a drawn latent is small, and log-variances are bounded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.core.distributions import Gaussian
from morphogen.nn.backbones.conv import ResidualBlock, pyramid
from morphogen.nn.integer.grid import UNIT, to_grid
from morphogen.nn.layers.activation import Activation, activation
from morphogen.nn.layers.initialization import zeroed


class BottomUp(nn.Module):
    """Pictures (B, C, H, W) -> features (B, widths[i], h_i, w_i) of each stage, finest first; sizes as in `pyramid`."""

    def __init__(
        self, shape: Sequence[int], widths: Sequence[int], *, blocks: int, cond: int, act: Activation, dropout: float
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape[0] * 4, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.ModuleList(ResidualBlock(w, cond=cond, act=act, norm=False, dropout=dropout) for _ in range(blocks))
            for w in widths
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor, c: Tensor | None = None) -> list[Tensor]:
        h, w = x.shape[-2:]
        x = self.stem(F.pixel_unshuffle(F.pad(x, (0, w % 2, 0, h % 2)), 2))
        found = []
        for i, stage in enumerate(self.stages):
            if i:
                x = self.down[i - 1](x)
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, c)
            found.append(x)
        return found


class Group(nn.Module):
    """One group of latents (B, z, h, w): its prior, its posterior, and its update of the state h (B, width, h, w)."""

    def __init__(self, width: int, z: int, *, cond: int, act: Activation, dropout: float, depth: int) -> None:
        super().__init__()
        self.z = z
        self.act = activation(act)
        self.prior_in = nn.Conv2d(width, width, 3, padding=1)
        self.prior_out = zeroed(nn.Conv2d(width, 2 * z + width, 1))
        self.posterior_in = nn.Conv2d(2 * width, width, 3, padding=1)
        self.posterior_out = zeroed(nn.Conv2d(width, 2 * z, 1))
        self.embed = nn.Conv2d(z, width, 1)
        nn.init.normal_(self.embed.weight, std=1.0 / math.sqrt(z * depth))
        self.block = ResidualBlock(width, cond=cond, act=act, norm=False, dropout=dropout)

    def prior(self, h: Tensor) -> tuple[Gaussian, Tensor]:
        """p(z_k | z_<k), and what the group adds to the state besides z_k."""
        moments, more = self.prior_out(self.act(self.prior_in(self.act(h)))).split((2 * self.z, h.shape[1]), dim=1)
        return _gaussian(moments), more

    def posterior(self, h: Tensor, found: Tensor) -> Gaussian:
        """q(z_k | x, z_<k), from the features of x at this resolution."""
        return _gaussian(self.posterior_out(self.act(self.posterior_in(self.act(torch.cat((h, found), dim=1))))))

    def forward(self, h: Tensor, more: Tensor, z: Tensor, c: Tensor | None) -> Tensor:
        """The state once z_k is known."""
        z = z.to(h.dtype) if isinstance(self.embed, nn.Conv2d) else to_grid(z)
        return self.block(h + more + self.embed(z), c)


def _gaussian(moments: Tensor) -> Gaussian:
    mean, log_var = moments.to(torch.promote_types(moments.dtype, torch.float32)).chunk(2, dim=1)
    return Gaussian(mean, log_var.clamp(-10.0, 5.0))  # sigma in [0.007, 12]: no KL between two of them overflows


class TopDown(nn.Module):
    """The state from the coarsest grid to the finest, and from there the picture's parameters (B, P, C, H, W).

    groups      how many groups of latents each stage has, finest first as the widths
    z           channels of a group of each stage
    """

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int],
        groups: Sequence[int],
        z: Sequence[int],
        parameters: int,
        *,
        cond: int,
        act: Activation,
        dropout: float,
    ) -> None:
        super().__init__()
        self.shape, self.outputs = tuple(shape), parameters
        self.sizes = pyramid(shape, len(widths))[::-1]
        self.widths, counts, channels = list(widths)[::-1], list(groups)[::-1], list(z)[::-1]
        self.stage_of = [stage for stage, n in enumerate(counts) for _ in range(n)]  # coarsest first
        self.latents = [(channels[stage], *self.sizes[stage]) for stage in self.stage_of]
        self.place = nn.ParameterList(
            nn.Parameter(0.02 * torch.randn(1, w, *size)) for w, size in zip(self.widths, self.sizes, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in itertools.pairwise(self.widths))
        self.settle = nn.ModuleList(
            ResidualBlock(w, cond=cond, act=act, norm=False, dropout=dropout) for w in self.widths[1:]
        )
        self.groups = nn.ModuleList(
            Group(self.widths[s], channels[s], cond=cond, act=act, dropout=dropout, depth=len(self.stage_of))
            for s in self.stage_of
        )
        self.act = activation(act)
        self.out = nn.Conv2d(self.widths[-1], 4 * parameters * shape[0], 3, padding=1)

    def group(self, k: int) -> Group:
        """The k-th group of latents, from 0."""
        return self.groups[k]  # type: ignore[return-value]

    def start(self, n: int) -> Tensor:
        """The state of `n` records before any latent."""
        return self._place(0).expand(n, -1, -1, -1)

    def _place(self, stage: int) -> Tensor:
        """The learned vectors of the places of a stage; those of an integer form are counted in steps of its grid."""
        place = self.place[stage]
        return place if place.is_floating_point() else place.double() * UNIT

    def enter(self, h: Tensor, k: int, c: Tensor | None) -> Tensor:
        """The state at the resolution of group k; k = K is that of the picture."""
        last = len(self.widths) - 1
        before, stage = self.stage_of[k - 1] if k else 0, self.stage_of[k] if k < len(self.stage_of) else last
        for s in range(before + 1, stage + 1):
            h = self.up[s - 1](F.interpolate(h, size=self.sizes[s], mode="nearest"))
            h = self.settle[s - 1](h + self._place(s).to(h.dtype), c)
        return h

    def picture(self, h: Tensor, c: Tensor | None) -> Tensor:
        """The parameters of p(x | z) from the state after the last group."""
        raw = F.pixel_shuffle(self.out(self.act(self.enter(h, len(self.groups), c))), 2)
        channels, rows, columns = self.shape
        return raw[..., :rows, :columns].unflatten(1, (self.outputs, channels))
