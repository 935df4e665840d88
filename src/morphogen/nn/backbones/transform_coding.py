r"""Transforms of pictures to latents that are worth coding, and back: a cosine transform that learns.

    y = T x + 1/8 a(x),    x_hat = S y + 1/8 s(y)

T cuts a picture (C, H, W) into blocks of f x f pixels and takes the cosine transform of each, over colors, rows and
columns: an orthonormal matrix, at which training begins (its weights are T_0 + V / 16, with V = 0 at first). S begins
as its inverse. The networks a and s begin at 0. Through them a latent comes to know more than its own block, and the
decoder smooths what coarse steps leave. So training starts where JPEG stands, and not from noise.

Squared errors are the same before and after an orthonormal transform, and latents of low frequency come first, so their
steps and scales have sensible first values: `scales_of`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.backbones.conv import ResidualBlock
from morphogen.nn.layers.grid_point import GridPoint
from morphogen.nn.layers.initialization import zeroed

SHARE, STEP = 0.125, 0.0625  # of what networks add; of what training adds to the cosine transform


def frequencies(channels: int, fold: int) -> list[tuple[int, int, int]]:
    """The color, row and column frequency of each latent, from low to high; colors count twice."""
    every = [(c, i, j) for c in range(channels) for i in range(fold) for j in range(fold)]
    return sorted(every, key=lambda f: (2 * f[0] + f[1] + f[2], f))


def scales_of(channels: int, fold: int) -> Tensor:
    """About how wide each latent is in pictures of [-1, 1], as powers of two.

    Natural pictures fall with the frequency k, here as 1 / (3 k) after 2.4 for the mean of a block, and their colors
    are an eighth of that.
    """
    widths = (
        (2.4 if i + j == 0 else 1.0 / (3.0 * (i + j))) / 8.0 ** min(c, 1) for c, i, j in frequencies(channels, fold)
    )
    return torch.tensor([2.0 ** round(math.log2(width)) for width in widths])


def cosines(channels: int, fold: int) -> Tensor:
    """T_0 (M, C f^2): rows are latents from low to high frequency, columns are (color, row, column) of a block."""
    over_color, over_place = _cosines(channels), _cosines(fold)
    rows = [
        torch.einsum("a,b,c->abc", over_color[c], over_place[i], over_place[j]).flatten()
        for c, i, j in frequencies(channels, fold)
    ]
    return torch.stack(rows)


def _cosines(n: int) -> Tensor:
    """The orthonormal cosine transform of n numbers."""
    k, t = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64) + 0.5
    rows = torch.cos(math.pi / n * k * t) * math.sqrt(2.0 / n)
    rows[0] /= math.sqrt(2.0)
    return rows.float()


class Transform(nn.Module):
    """A matrix at each place, (B, n_in, h, w) -> (B, n_out, h, w): `first` (n_out, n_in) + V / 16."""

    first: Tensor

    def __init__(self, first: Tensor) -> None:
        super().__init__()
        self.register_buffer("first", first.clone())
        self.change = nn.Parameter(torch.zeros_like(first))

    def matrix(self) -> Tensor:
        """The whole matrix."""
        return self.first + STEP * self.change

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # a step may be finer than bf16
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            return F.conv2d(wide, self.matrix()[:, :, None, None])


class _Blocks(nn.ModuleList):
    """Residual blocks that know the quality c."""

    def __init__(self, width: int, count: int, cond: int) -> None:
        super().__init__(ResidualBlock(width, cond=cond, act="relu", norm=False, dropout=0.0) for _ in range(count))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        for block in self:
            x = block(x, c)
        return x


class Analysis(nn.Module):
    """Pictures (B, C, H, W) -> latents (B, M, ceil(H / f), ceil(W / f)); c (B, cond) is the quality."""

    def __init__(self, channels: int, fold: int, widths: Sequence[int], blocks: int, cond: int) -> None:
        super().__init__()
        self.fold, latents = fold, channels * fold**2
        self.transform = Transform(cosines(channels, fold))
        self.stem = nn.Conv2d(latents // 4, widths[0], 3, padding=1)
        self.fine = _Blocks(widths[0], blocks, cond)
        self.down = nn.Conv2d(widths[0], widths[1], 2, stride=2)
        self.coarse = _Blocks(widths[1], blocks, cond)
        self.out = zeroed(nn.Conv2d(widths[1], latents, 3, padding=1))
        self.round = GridPoint()

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = self.round(F.pad(x, (0, -x.shape[-1] % self.fold, 0, -x.shape[-2] % self.fold), mode="replicate"))
        h = self.fine(torch.relu(self.stem(F.pixel_unshuffle(x, self.fold // 2))), c)
        h = self.coarse(torch.relu(self.down(h)), c)
        y = self.transform(F.pixel_unshuffle(x, self.fold))
        return self.round(y + SHARE * self.out(torch.relu(h)).to(y.dtype))


class Synthesis(nn.Module):
    """Latents (B, M, h, w) -> pictures (B, *shape), not held to [-1, 1]; c (B, cond) is the quality."""

    def __init__(self, shape: Sequence[int], fold: int, widths: Sequence[int], blocks: int, cond: int) -> None:
        super().__init__()
        self.shape, self.fold, latents = tuple(shape), fold, shape[0] * fold**2
        self.transform = Transform(cosines(shape[0], fold).T)
        self.stem = nn.Conv2d(latents, widths[1], 3, padding=1)
        self.coarse = _Blocks(widths[1], blocks, cond)
        self.up = nn.Conv2d(widths[1], 4 * widths[0], 1)
        self.fine = _Blocks(widths[0], blocks, cond)
        self.out = zeroed(nn.Conv2d(widths[0], latents // 4, 3, padding=1))
        self.round = GridPoint()

    def forward(self, y: Tensor, c: Tensor) -> Tensor:
        y = self.round(y)
        h = self.coarse(torch.relu(self.stem(y)), c)
        h = self.fine(torch.relu(F.pixel_shuffle(self.up(h), 2)), c)
        x = F.pixel_shuffle(self.transform(y), self.fold)
        x = x + SHARE * F.pixel_shuffle(self.out(torch.relu(h)), self.fold // 2).to(x.dtype)
        return self.round(x)[..., : self.shape[1], : self.shape[2]]
