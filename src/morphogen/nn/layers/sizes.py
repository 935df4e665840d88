"""Pictures of any size for networks that want multiples of something."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def padded(x: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) with zeros on the right and below, so that `multiple` divides both sides."""
    h, w = x.shape[-2:]
    return F.pad(x, (0, -w % multiple, 0, -h % multiple))


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear; itself if it has that size.

    Antialiased also where it enlarges and that changes nothing: compilers leave this kernel as it is, while torch 2.13
    compiles the plain one to wrong gradients on a CPU.
    """
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", antialias=True)
