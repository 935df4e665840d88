r"""How near a picture is to another: the peak signal-to-noise ratio and multi-scale structural similarity.

    PSNR = 10 log10(peak^2 / mean squared error)

SSIM compares windows of both pictures by their means, variances and covariance (Wang, Bovik, Sheikh and Simoncelli,
"Image quality assessment", 2004):

    l = (2 m_a m_b + c_1) / (m_a^2 + m_b^2 + c_1),   c = (2 s_ab + c_2) / (s_a^2 + s_b^2 + c_2),   SSIM = mean of l c,

with Gaussian windows of 11 x 11 and deviation 1.5, c_1 = (0.01 peak)^2 and c_2 = (0.03 peak)^2. MS-SSIM halves
the pictures four times by means of 2 x 2 and multiplies the means of c of each scale but the last, and SSIM of the last
one, each to the power of a weight (Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality
assessment", 2003). A picture whose smaller side is below 176 takes as many scales as leave 11 pixels, and the weights
of those, scaled to sum 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, the finest first
_WINDOW, _DEVIATION = 11, 1.5
_MOST = 100.0  # dB: the PSNR of equal pictures


def psnr(a: Tensor, b: Tensor, peak: float) -> Tensor:
    """The PSNR in dB of pictures (B, C, H, W), (B,); at most 100 dB.

    Args:
        a, b: pictures (B, C, H, W).
        peak: the largest value less the smallest that a picture may have.

    Example:
        >>> a = torch.zeros(1, 1, 4, 4)
        >>> psnr(a, a + 0.1, 1.0)
        tensor([20.])
    """
    error = (a - b).square().flatten(1).mean(1)
    return 10.0 * torch.log10(peak**2 / error.clamp_min(peak**2 * 10.0 ** (-_MOST / 10.0)))


def scales_of(height: int, width: int) -> int:
    """How many scales a picture of this size has: halving leaves at least a window; at least one."""
    side, scales = min(height, width), 1
    while scales < len(WEIGHTS) and side // 2 >= _WINDOW:
        side, scales = side // 2, scales + 1
    return scales


def ms_ssim(a: Tensor, b: Tensor, peak: float) -> Tensor:
    """MS-SSIM of pictures (B, C, H, W), (B,), the mean over channels; 1 for equal pictures.

    Args:
        a, b: pictures (B, C, H, W).
        peak: the largest value less the smallest that a picture may have.

    Example:
        >>> a = torch.rand(2, 3, 64, 64)
        >>> bool((ms_ssim(a, a, 1.0) == 1.0).all())
        True
    """
    scales = scales_of(*a.shape[-2:])
    weights = [w / sum(WEIGHTS[:scales]) for w in WEIGHTS[:scales]]
    found = a.new_ones(a.shape[:2])
    for i, weight in enumerate(weights):
        whole, contrast = _ssim(a, b, peak)
        last = i == scales - 1
        found = found * (whole if last else contrast).clamp_min(0.0) ** weight
        if not last:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return found.mean(1)


def _ssim(a: Tensor, b: Tensor, peak: float) -> tuple[Tensor, Tensor]:
    """The means over places of l c, and of c: each (B, C)."""
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    a, b = a - 0.5 * peak, b - 0.5 * peak  # variances do not change, and cancel less
    mean_a, mean_b = _smooth(a), _smooth(b)
    var_a, var_b = _smooth(a * a) - mean_a.square(), _smooth(b * b) - mean_b.square()
    cov = _smooth(a * b) - mean_a * mean_b
    mean_a, mean_b = mean_a + 0.5 * peak, mean_b + 0.5 * peak
    light = (2 * mean_a * mean_b + c1) / (mean_a.square() + mean_b.square() + c1)
    contrast = (2 * cov + c2) / (var_a + var_b + c2)
    return (light * contrast).mean((2, 3)), contrast.mean((2, 3))


def _smooth(x: Tensor) -> Tensor:
    """Means in Gaussian windows that lie inside of the picture; windows are no larger than it."""
    for axis in (2, 3):
        size = min(_WINDOW, x.shape[axis])
        place = torch.arange(size, dtype=x.dtype, device=x.device) - 0.5 * (size - 1)
        window = torch.exp(-0.5 * (place / _DEVIATION).square())
        x = x.unfold(axis, size, 1) @ (window / window.sum())
    return x
