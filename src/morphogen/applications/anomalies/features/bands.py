"""Energies of bands of frequency, place by place: how sharp, smooth or grainy a picture is where.

With G_s the Gaussian blur of s pixels, G_0 the identity, the bands of a picture are B_k x = G_{s_(k-1)} x - G_{s_k} x
(Burt and Adelson, "The Laplacian pyramid as a compact image code", 1983), here at s = 1/2, 1 and 2 pixels of a picture
of 28. A cell is described by

    log(mean over the cell of (B_k x)^2 + e),

so that a change of contrast adds the same number to all bands and cells, and a blur takes from the fine bands first.
e is about the square of half a level of 256, below which there is nothing to see.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

BANDS = (0.5, 1.0, 2.0)  # blurs in pixels of a picture of 28
_LEAST = 3e-6


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Pictures x (N, C, H, W) under a Gaussian blur of `sigma` pixels; the border is continued."""
    reach = min(math.ceil(3.0 * sigma), min(x.shape[2:]) - 1)
    at = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.softmax(-0.5 * (at / sigma).square(), 0)
    flat = x.flatten(0, 1)[:, None]
    flat = functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    flat = functional.conv2d(functional.conv2d(flat, kernel[None, None, :, None]), kernel[None, None, None])
    return flat[:, 0].unflatten(0, x.shape[:2])


def band_energies(x: Tensor, scale: float, cell: int) -> Tensor:
    """(N, 3 C, h, w) of pictures x (N, C, H, W) in [0, 1].

    Args:
        x: pictures.
        scale: pixels for one of a picture of 28.
        cell: side of a cell in pixels; cells do not overlap.
    """
    bands, finer = [], x
    for sigma in BANDS:
        coarser = blurred(x, sigma * scale)
        bands.append(finer - coarser)
        finer = coarser
    return (functional.avg_pool2d(torch.cat(bands, 1).square(), cell) + _LEAST).log()
