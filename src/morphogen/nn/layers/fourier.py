"""Fourier features of what a network reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def fourier_features(x: Tensor, powers: Sequence[int], levels: int | None = None) -> Tensor:
    """x (B, C, ...) and after it sin and cos of 2^k pi x for k in `powers`, (B, (1 + 2 len(powers)) C, ...).

    Differences far smaller than a network tells apart, in bf16 least of all, decide how likely exact values are
    (Kingma et al., "Variational diffusion models", 2021). Of x with K `levels` the angles are (K - 1) / K times that,
    so that 2^k = K is one turn from each value to the next: sin then tells how far from a value x is.
    """
    turn = math.pi * (1.0 if levels is None else (levels - 1) / levels)
    angles = [x * (turn * 2.0**k) for k in powers]
    return torch.cat((x, *(part for angle in angles for part in (angle.sin(), angle.cos()))), dim=1)
