r"""The cosine basis of pictures (Ahmed, Natarajan and Rao, 1974), in which natural pictures are nearly sparse.

    b_0(x) = sqrt(1/n),   b_k(x) = sqrt(2/n) cos(pi k (2 x + 1) / (2 n)),     k = 1 .. n - 1,

are orthonormal. Products of two of them are a basis of pictures; those of low frequency hold most of their variance.
The basis is public: it depends on no record.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosines(n: int) -> Tensor:
    """(n, n) float64, a basis vector a row, orthonormal."""
    k, x = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    basis = torch.cos(math.pi * k * (2 * x + 1) / (2 * n)) * math.sqrt(2.0 / n)
    basis[0] /= math.sqrt(2.0)
    return basis


def picture_basis(shape: tuple[int, ...]) -> Tensor:
    """An orthonormal basis (D, D) of records of this shape, the lowest frequencies first, float64.

    A picture (C, H, W) has the same basis in each of its channels. Other shapes have the standard basis.
    """
    d = math.prod(shape)
    if len(shape) != 3:
        return torch.eye(d, dtype=torch.float64)
    channels, height, width = shape
    rows, columns = cosines(height), cosines(width)
    plane = torch.einsum("ky,lx->klyx", rows, columns).reshape(height * width, height * width)
    k, l = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")  # noqa: E741
    frequency = (k.square() + l.square()).flatten().repeat(channels)
    order = frequency.argsort(stable=True)
    return torch.block_diag(*[plane] * channels)[order]
