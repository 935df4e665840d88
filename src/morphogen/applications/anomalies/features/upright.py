"""Pictures without their slant and in the middle, by their moments.

With the gray values of a picture as mass, m its center and C its second central moments (x to the right, y downwards),
the shear that leaves no covariance of x and y is

    x' = x + (C_xy / C_yy) y .

The picture is read at m + (x', y), so its center comes to the middle, too. Writing of different slant becomes alike
(LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998). Of pictures that
fill their frame the center and the slant are small, and they change little.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def upright(x: Tensor) -> Tensor:
    """Pictures x (N, C, H, W) >= 0, sheared and moved; the border is continued."""
    height, width = x.shape[2:]
    mass = x.sum(1)
    total = mass.sum((1, 2)).clamp_min(1e-6)
    down = torch.linspace(-1.0, 1.0, height, dtype=x.dtype, device=x.device)[:, None]
    right = torch.linspace(-1.0, 1.0, width, dtype=x.dtype, device=x.device)
    y, x_ = ((mass * at).sum((1, 2)) / total for at in (down, right))
    from_y, from_x = down - y[:, None, None], right - x_[:, None, None]
    variance = (mass * from_y.square()).sum((1, 2)) / total
    covariance = (mass * from_y * from_x).sum((1, 2)) / total
    shear = torch.where(variance > 1e-6, covariance / variance.clamp_min(1e-6), 0.0)
    zero, one = torch.zeros_like(shear), torch.ones_like(shear)
    transform = torch.stack((one, shear, x_, zero, one, y), 1).reshape(-1, 2, 3)
    grid = functional.affine_grid(transform, list(x.shape), align_corners=True)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=True)
