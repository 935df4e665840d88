"""The sizes of the same pictures under general compressors: baselines for bits/dim."""

from __future__ import annotations

import bz2
import io
import lzma

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def bits_per_dim_of_codecs(stored: Tensor) -> dict[str, float]:
    """Bits per stored element of uint8 pictures (N, C, H, W).

    `lzma` and `bz2` compress all pictures together; `png` compresses each picture with its best filter. Binary pictures
    are packed eight to a byte for `lzma` and `bz2`, and have one bit per pixel in PNG.
    """
    binary = bool(stored.max() <= 1)
    raw = _packed(stored) if binary else stored.numpy().tobytes()
    sizes = {
        "lzma (all at once)": len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)),
        "bz2 (all at once)": len(bz2.compress(raw, 9)),
    }
    if stored.ndim == 4 and stored.shape[1] in (1, 3):
        sizes["PNG (one by one)"] = sum(len(_png(picture, binary)) for picture in stored)
    return {name: 8.0 * size / stored.numel() for name, size in sizes.items()}


def _packed(bits: Tensor) -> bytes:
    return np.packbits(bits.numpy().reshape(-1)).tobytes()


def _png(picture: Tensor, binary: bool) -> bytes:
    array = picture.permute(1, 2, 0).squeeze(-1).to(torch.uint8).numpy()
    image = Image.fromarray(array * 255).convert("1") if binary else Image.fromarray(array)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
