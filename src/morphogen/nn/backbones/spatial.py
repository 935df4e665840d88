"""Convolutional encoders to a grid of latents and decoders from it: the first stage of latent diffusion.

    (B, C, H, W) -> (B, n, ceil(H / f), ceil(W / f)),   f = 2^len(widths)

Pictures are folded 2 x 2 into channels first (space to depth) and unfolded last, so that no convolution works at full
resolution; from stage to stage the grid is halved. Nothing is flattened and no weight belongs to a place, so that a
latent describes its own f x f pixels and their surroundings. Sizes that f does not divide are padded on the right and
below, and cropped again at the end.

Memory is contiguous, not channels-last: at these widths both are equally fast, and `GroupNorm` with few channels a
group is not slow in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.backbones.conv import ResidualBlock
from morphogen.nn.layers.norm import GroupNorm
from morphogen.nn.layers.sizes import padded


def grid(size: Sequence[int], stages: int) -> tuple[int, int]:
    """Height and width of the latents of pictures of `size` (..., H, W): each over 2^stages, rounded up."""
    f = 2**stages
    return -(-size[-2] // f), -(-size[-1] // f)


class _SpatialBlocks(nn.ModuleList):
    """Residual blocks, one after the other."""

    def __init__(self, width: int, count: int, dropout: float) -> None:
        super().__init__(ResidualBlock(width, cond=0, act="silu", norm=True, dropout=dropout) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            x = block(x, None)
        return x


class SpatialEncoder(nn.Module):
    """Pictures (B, channels, H, W) -> (B, n_out, *grid); `widths` are the channels at 1/2, 1/4, ... resolution."""

    def __init__(
        self, channels: int, widths: Sequence[int], n_out: int, *, blocks: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        layers: list[nn.Module] = [
            nn.Conv2d(4 * channels, widths[0], 3, padding=1),
            _SpatialBlocks(widths[0], blocks, dropout),
        ]
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv2d(a, b, 2, stride=2), _SpatialBlocks(b, blocks, dropout)]
        layers += [GroupNorm(widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], n_out, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(F.pixel_unshuffle(padded(x, self.multiple), 2))


class SpatialDecoder(nn.Module):
    """Latents (B, n_in, h, w) -> features (B, widths[0], h f / 2, w f / 2): the encoder's mirror, less its last layer.

    That is `PictureLayer`, a module of its own.
    """

    def __init__(self, n_in: int, widths: Sequence[int], *, blocks: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        narrowing = list(widths)[::-1]
        layers: list[nn.Module] = [
            nn.Conv2d(n_in, narrowing[0], 3, padding=1),
            _SpatialBlocks(narrowing[0], blocks, dropout),
        ]
        for a, b in itertools.pairwise(narrowing):
            layers += [nn.Conv2d(a, b, 1), nn.Upsample(scale_factor=2.0), _SpatialBlocks(b, blocks, dropout)]
        self.layers = nn.Sequential(*layers, GroupNorm(widths[0]), nn.SiLU())

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class PictureLayer(nn.Module):
    """Features (B, width, ceil(H / 2), ceil(W / 2)) or more -> (B, parameters, C, H, W): one convolution, unfolded."""

    def __init__(self, width: int, shape: Sequence[int], parameters: int = 1) -> None:
        super().__init__()
        self.shape, self.parameters_each = tuple(shape), parameters
        self.conv = nn.Conv2d(width, 4 * parameters * shape[0], 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        channels, rows, columns = self.shape
        x = F.pixel_shuffle(self.conv(h), 2)
        return x[..., :rows, :columns].unflatten(1, (self.parameters_each, channels))
