"""Group normalization (Wu and He, 2018) that is safe in every memory format.

`torch.nn.GroupNorm` crashes in the backward pass on a CPU when its input is channels-last and
needs no gradient itself (torch 2.13); the guard here makes such an input contiguous.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """y = gamma (x - mean_g) / sqrt(var_g + eps) + beta over groups g of channels; x (B, C, *)."""

    def __init__(self, channels: int, groups: int = 8) -> None:
        super().__init__(math.gcd(groups, channels), channels)

    def forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad and torch.is_grad_enabled():
            x = x.contiguous()
        return super().forward(x)
