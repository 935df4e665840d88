"""Fit pictures of any size to networks that need certain sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def padded(x: Tensor, multiple: int) -> Tensor:
    """Pad pictures (B, C, H, W) with zeros on the right and below, so that `multiple` divides both sides."""
    h, w = x.shape[-2:]
    return F.pad(x, (0, -w % multiple, 0, -h % multiple))


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resample (B, C, h, w) to (B, C, *size), bilinearly; the result is `x` itself if it has that size.

    Antialiasing is on although it has no effect on enlarging: compilers leave this kernel alone, while torch 2.13
    compiles the plain kernel to wrong gradients on a CPU.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", antialias=True)
