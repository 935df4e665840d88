"""The degradations that the frozen feature networks learn to tell apart, on batches of pictures in [-1, 1].

Each takes pictures (B, C, H, W) and strengths (B,) in (0, 1), which run from invisible to nearly destroyed.
They are part of the recipe of shipped networks and must not change with the ladder of `morphogen.evaluation`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.rng import Rng

KINDS = ("blur", "noise", "components", "jpeg", "mixture")
MAX_COMPONENTS = 600

# Annex K of the JPEG standard (ITU-T T.81, 1992).
_LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62"
    " 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)
_CHROMINANCE = (
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99" + " 99" * 32
)
_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def degraded(x: Tensor, basis: tuple[Tensor, Tensor], rng: Rng, index: Tensor) -> tuple[Tensor, Tensor]:
    """Each picture degraded in one way, the kinds in turn, and rounded to bytes as pictures are; noise at `index` (B,).

    `basis` is what `principal` gives. Returns the pictures and (B, kinds) strengths, zero for what was not done.
    """
    strength = 0.02 + 0.98 * rng.uniform("strength", index)
    kind = torch.arange(len(x)) % len(KINDS)
    out, target = torch.empty_like(x), torch.zeros(len(x), len(KINDS))
    target[torch.arange(len(x)), kind] = strength
    for number, name in enumerate(KINDS):
        rows = (kind == number).nonzero()[:, 0]
        part, s = x[rows], strength[rows]
        if name == "blur":
            out[rows] = blur(part, s)
        elif name == "noise":
            out[rows] = part + s.square().view(-1, 1, 1, 1) * rng.normal("noise", index[rows], x.shape[1:])
        elif name == "components":
            out[rows] = truncated(part, basis, s)
        elif name == "jpeg":
            out[rows] = jpeg(part, 2000.0 * s.square())
        else:  # with the one before it among those degraded in this way
            out[rows] = torch.lerp(part, part.roll(1, 0), 0.5 * s.view(-1, 1, 1, 1))
    return ((out.clamp_(-1.0, 1.0) + 1.0) * 127.5).round_() / 127.5 - 1.0, target


def blur(x: Tensor, strength: Tensor) -> Tensor:
    """Gaussian blur of up to 2.5 pixels, at 0.25 for strength 0.215; the kernel is integrated over each pixel."""
    sigma = 2.5 * strength**1.5
    height, width = (_blur_matrix(n, sigma) for n in x.shape[2:])
    return height[:, None] @ x @ width[:, None].mT


def _blur_matrix(n: int, sigma: Tensor) -> Tensor:
    """(B, n, n), rows that add up to one, so that the border is not darkened."""
    apart = (torch.arange(n)[:, None] - torch.arange(n)).float()
    root = (math.sqrt(2.0) * sigma).clamp_min(1e-3).view(-1, 1, 1)
    kernel = torch.erf((apart + 0.5) / root) - torch.erf((apart - 0.5) / root)
    return kernel / kernel.sum(-1, keepdim=True)


def principal(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,) of pictures (N, *shape) and their first principal components (D, MAX_COMPONENTS)."""
    flat = x.flatten(1)
    mean = flat.mean(0)
    centered = flat - mean
    if len(flat) >= flat.shape[1]:
        return mean, torch.linalg.eigh(centered.T @ centered).eigenvectors.flip(1)[:, :MAX_COMPONENTS]
    values, vectors = (v.flip(-1)[..., :MAX_COMPONENTS] for v in torch.linalg.eigh(centered @ centered.T))
    return mean, centered.T @ (vectors / values.sqrt())


def truncated(x: Tensor, basis: tuple[Tensor, Tensor], strength: Tensor) -> Tensor:
    """Only the first 600 down to 8 components, in equal ratios over the strengths."""
    mean, components = basis
    kept = MAX_COMPONENTS * (8.0 / MAX_COMPONENTS) ** strength
    coefficients = (x.flatten(1) - mean) @ components
    coefficients = coefficients * (torch.arange(components.shape[1]) < kept[:, None])
    return (coefficients @ components.T + mean).view_as(x)


def jpeg(x: Tensor, percent: Tensor) -> Tensor:
    """What JPEG leaves of pictures with one or three channels: the rounding of 8 x 8 cosine coefficients.

    `percent` (B,) scales the standard's steps, as 200 - 2 q for a quality q of 50 and more, 5000 / q below: 40 is
    quality 80, 100 is 50, 1000 is 5. Colors are coded at half the resolution.
    """
    values = (x + 1.0) * 127.5
    if x.shape[1] == 1:
        return _coded(values, percent, _LUMINANCE) / 127.5 - 1.0
    ycc = torch.einsum("ij,bjhw->bihw", _TO_YCC, values - 128.0)
    luma = _coded(ycc[:, :1] + 128.0, percent, _LUMINANCE) - 128.0
    half = _coded(F.avg_pool2d(ycc[:, 1:], 2) + 128.0, percent, _CHROMINANCE) - 128.0
    colors = F.interpolate(half, x.shape[2:], mode="bilinear", align_corners=False)
    back = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(_TO_YCC), torch.cat((luma, colors), dim=1))
    return (back + 128.0) / 127.5 - 1.0


def _coded(values: Tensor, percent: Tensor, table: str) -> Tensor:
    """Channels of bytes (B, C, H, W) after their cosine coefficients are rounded to multiples of the steps."""
    height, width = values.shape[2:]
    x = F.pad(values - 128.0, (0, -width % 8, 0, -height % 8), mode="replicate")
    base = torch.tensor([float(v) for v in table.split()]).view(1, 8, 8)
    step = (base * percent.view(-1, 1, 1) / 100.0).clamp(1.0, 255.0).view(-1, 1, 1, 1, 8, 8)
    blocks = x.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)  # (B, C, rows, columns, 8, 8)
    k = torch.arange(8.0)
    cosines = torch.cos((2.0 * k + 1.0) * k[:, None] * math.pi / 16.0)
    cosines = cosines * torch.where(k == 0, 0.125, 0.25).sqrt()[:, None]
    coefficients = (cosines @ blocks @ cosines.T / step).round() * step
    coded = (cosines.T @ coefficients @ cosines).transpose(3, 4).flatten(4, 5).flatten(2, 3)
    return coded[:, :, :height, :width] + 128.0
