"""Gradients of pictures: histograms of oriented gradients, and their energy.

With the central differences g_x, g_y of a gray picture (0 at its border), a pixel votes for the orientation
atan2(g_y, g_x) mod 180 degrees with its magnitude |g|. Votes are averaged over cells; the histograms of neighboring
cells form a block v, scaled to v / (|v|^2 + e^2)^1/2, cut off at 0.2, and scaled again (Dalal and Triggs, "Histograms
of oriented gradients for human detection", 2005). Of a color picture each pixel takes the channel of the largest
magnitude. With the same sizes this is `skimage.feature.hog`, for many pictures at once.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BINS, BLOCK = 9, 2
_CUT, _EPSILON = 0.2, 1e-5
_LEAST = 1e-6  # votes about as weak as one level of 256


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """The central differences (N, H, W) downwards and to the right of pictures x (N, C, H, W)."""
    down, right = torch.zeros_like(x), torch.zeros_like(x)
    down[..., 1:-1, :] = x[..., 2:, :] - x[..., :-2, :]
    right[..., 1:-1] = x[..., 2:] - x[..., :-2]
    if x.shape[1] == 1:
        return down[:, 0], right[:, 0]
    strongest = (down.square() + right.square()).argmax(1, keepdim=True)
    return down.gather(1, strongest)[:, 0], right.gather(1, strongest)[:, 0]


def histograms(
    x: Tensor,
    cell: int,
    stride: int | None = None,
    block: int = BLOCK,
    bins: int = BINS,
    soft: bool = False,
    signed: bool = False,
) -> Tensor:
    """Histograms of oriented gradients.

    Args:
        x: pictures (N, C, H, W).
        cell: side of a cell in pixels.
        stride: pixels from cell to cell; None: `cell`, so that cells do not overlap.
        block: cells along a side of a block.
        bins: orientations.
        soft: a vote is shared by the two bins whose middles are nearest.
        signed: orientations of 360 degrees, so that dark on light differs from light on dark.

    Returns:
        (N, D), block by block.
    """
    cells = votes(x, cell, stride or cell, bins, soft, signed)
    block = min(block, *cells.shape[2:])
    blocks = functional.unfold(cells, block)  # (N, bins block^2, L)
    blocks = blocks.unflatten(1, (bins, block * block))
    for cut in (_CUT, None):
        length = (blocks.square().sum((1, 2), keepdim=True) + _EPSILON**2).sqrt()
        blocks = blocks / length
        blocks = blocks if cut is None else blocks.clamp_max(cut)
    return blocks.permute(0, 3, 2, 1).flatten(1)


def votes(x: Tensor, cell: int, stride: int, bins: int, soft: bool, signed: bool) -> Tensor:
    """(N, bins, h, w) the mean votes of the cells of pictures x (N, C, H, W)."""
    down, right = gradients(x)
    magnitude = (down.square() + right.square()).sqrt()
    circle = 360.0 if signed else 180.0
    place = (torch.rad2deg(torch.atan2(down, right)) % circle) / (circle / bins)
    found = x.new_zeros(len(x), bins, *x.shape[2:])
    if soft:
        lower = (place - 0.5).floor()
        share = place - 0.5 - lower
        found.scatter_add_(1, (lower.long() % bins)[:, None], (magnitude * (1.0 - share))[:, None])
        found.scatter_add_(1, ((lower.long() + 1) % bins)[:, None], (magnitude * share)[:, None])
    else:
        found.scatter_(1, place.long().clamp_(0, bins - 1)[:, None], magnitude[:, None])
    return functional.avg_pool2d(found, cell, stride)


def relative_votes(x: Tensor, cell: int, stride: int, bins: int = BINS) -> Tensor:
    """(N, bins, h, w) the votes of cells, each scaled by what it and the eight cells around it have.

    v / (4 e + e_0^2)^1/2, cut off at 0.2, with e the mean of |v|^2 over those cells of the picture: the scale of four
    cells, as blocks have it, but one histogram a cell.
    """
    cells = votes(x, cell, stride, bins, soft=True, signed=False)
    around = functional.avg_pool2d(cells.square().sum(1, keepdim=True), 3, 1, 1, count_include_pad=False)
    return (cells / (4.0 * around + _LEAST).sqrt()).clamp_max(_CUT)


def energy(x: Tensor) -> Tensor:
    """(N,) the mean square of the gradients of pictures x (N, C, H, W): how sharp a picture is."""
    down, right = gradients(x)
    return (down.square() + right.square()).flatten(1).mean(1)
