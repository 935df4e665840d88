"""Residual convolutional encoders and decoders (He et al., 2016, with pre-activation).

Pictures are folded 2 x 2 into channels first (space to depth) and unfolded last, so that the
convolutions work at half the resolution, where their cost is a quarter. Sizes that do not divide
are padded on the right and below, and cropped again by the decoder.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.layers.activation import Activation, activation
from morphogen.nn.layers.norm import GroupNorm


class ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm x)) + U c))); x (B, C, H, W), vector c (B, cond)."""

    def __init__(self, channels: int, *, cond: int, act: Activation, norm: bool, dropout: float) -> None:
        super().__init__()
        self.norm1 = GroupNorm(channels) if norm else nn.Identity()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.inject = nn.Linear(cond, channels) if cond else None
        self.norm2 = GroupNorm(channels) if norm else nn.Identity()
        self.dropout = nn.Dropout2d(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.act = activation(act)
        nn.init.zeros_(self.conv2.weight)  # each block starts as the identity
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        h = self.conv1(self.act(self.norm1(x)))
        if self.inject is not None and c is not None:
            h = h + self.inject(c)[:, :, None, None]
        return x + self.conv2(self.dropout(self.act(self.norm2(h))))


def pyramid(shape: Sequence[int], stages: int) -> list[tuple[int, int]]:
    """Heights and widths per stage: after the fold, then halved (rounded up) from stage to stage."""
    sizes = [(-(-shape[-2] // 2), -(-shape[-1] // 2))]
    for _ in range(stages - 1):
        h, w = sizes[-1]
        sizes.append((-(-h // 2), -(-w // 2)))
    return sizes


class ConvEncoder(nn.Module):
    """Pictures (B, C, H, W) -> (B, n_out): the fold, then `blocks` residual blocks and a halving per stage."""

    def __init__(
        self,
        shape: Sequence[int],
        widths: Sequence[int],
        n_out: int,
        *,
        blocks: int = 2,
        cond: int = 0,
        act: Activation = "silu",
        norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape[0] * 4, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.ModuleList(ResidualBlock(w, cond=cond, act=act, norm=norm, dropout=dropout) for _ in range(blocks))
            for w in widths
        )
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        self.norm = GroupNorm(widths[-1]) if norm else nn.Identity()
        self.act = activation(act)
        self.out = nn.Linear(widths[-1] * math.prod(pyramid(shape, len(widths))[-1]), n_out)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        h, w = x.shape[-2:]
        x = F.pixel_unshuffle(F.pad(x, (0, w % 2, 0, h % 2)), 2)
        x = self.stem(x)
        for i, stage in enumerate(self.stages):
            if i:
                x = self.down[i - 1](x)
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, c)
        return self.out(self.act(self.norm(x)).flatten(1))


class ConvDecoder(nn.Module):
    """Vectors (B, n_in) -> (B, parameters, C, H, W): mirrors the encoder; the vector also enters every block."""

    def __init__(
        self,
        n_in: int,
        widths: Sequence[int],
        shape: Sequence[int],
        parameters: int = 1,
        *,
        blocks: int = 2,
        cond: int = 0,
        act: Activation = "silu",
        norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape, self.outputs = tuple(shape), parameters
        self.sizes = pyramid(shape, len(widths))[::-1]
        widths = list(widths)[::-1]
        self.widths = widths
        self.stem = nn.Linear(n_in + cond, widths[0] * math.prod(self.sizes[0]))
        self.stages = nn.ModuleList(
            nn.ModuleList(
                ResidualBlock(w, cond=n_in + cond, act=act, norm=norm, dropout=dropout) for _ in range(blocks)
            )
            for w in widths
        )
        self.up = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(widths))
        self.norm = GroupNorm(widths[-1]) if norm else nn.Identity()
        self.act = activation(act)
        self.out = nn.Conv2d(widths[-1], 4 * parameters * shape[0], 3, padding=1)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        if c is not None:
            z = torch.cat((z, c), dim=-1)
        x = self.stem(z).unflatten(-1, (self.widths[0], *self.sizes[0]))
        for i, stage in enumerate(self.stages):
            if i:
                x = self.up[i - 1](F.interpolate(x, size=self.sizes[i], mode="nearest"))
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, z)
        x = F.pixel_shuffle(self.out(self.act(self.norm(x))), 2)
        channels, h, w = self.shape
        return x[..., :h, :w].unflatten(1, (self.outputs, channels))
