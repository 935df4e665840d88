"""Fourier features of a network's input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def fourier_features(x: Tensor, powers: Sequence[int], levels: int | None = None) -> Tensor:
    """x (B, C, ...) and after it sin and cos of 2^k pi x for k in `powers`, (B, (1 + 2 len(powers)) C, ...).

    The likelihood of exact values depends on differences that are too small for a network, above all in bf16 (Kingma et
    al., "Variational diffusion models", 2021). For x with K `levels` the angles are multiplied by (K - 1) / K. Then
    2^k = K is one full turn from each value to the next, and sin gives the distance of x from a value.
    """
    turn = math.pi * (1.0 if levels is None else (levels - 1) / levels)
    angles = [x * (turn * 2.0**k) for k in powers]
    return torch.cat((x, *(part for angle in angles for part in (angle.sin(), angle.cos()))), dim=1)
