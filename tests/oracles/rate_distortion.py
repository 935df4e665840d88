"""How few nats a source needs for an error: closed forms (Shannon, 1959; Cover and Thomas, chapter 10)."""

import math

import torch


def gaussian_rate(variances, error):
    """R(D) in nats of independent normals for a summed squared error D: reverse water-filling.

    The water level t has sum min(t, v_i) = D, and R = sum max(0, log(v_i / t) / 2).
    """
    low, high = 0.0, float(variances.max())
    for _ in range(200):
        level = 0.5 * (low + high)
        low, high = (level, high) if float(variances.clamp_max(level).sum()) < error else (low, level)
    return float((0.5 * (variances / level).log()).clamp_min(0.0).sum())


def cells(step, offset, reach):
    """The places of the cells of a quantizer in [-reach, reach]."""
    n = math.ceil(reach / step)
    return offset + step * torch.arange(-n, n + 1, dtype=torch.float64)
