"""Sizes of many small pictures by lossless codecs, in the environment "codecs": as one mosaic, and by LZMA as they are.

    python -m benchmarks.peers.mosaic pictures.npy     # (N, H, W, C) uint8

A mosaic is nearly square, rows of pictures from left to right; places that are left are black. Prints bytes by codec,
each at its best, and the pictures a second that JPEG XL encodes and decodes.
"""

from __future__ import annotations

import json
import lzma
import math
import sys
import time
from typing import Any

import imagecodecs
import numpy as np


def mosaic(x: Any) -> Any:
    """Pictures (N, H, W, C) as one, (rows H, columns W, C)."""
    n, h, w, c = x.shape
    columns = math.ceil(math.sqrt(n))
    rows = -(-n // columns)
    whole = np.zeros((rows * columns, h, w, c), np.uint8)
    whole[:n] = x
    tiles = whole.reshape(rows, columns, h, w, c).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(tiles.reshape(rows * h, columns * w, c).squeeze())


if __name__ == "__main__":
    pictures = np.load(sys.argv[1])
    raw = np.packbits(pictures) if pictures.max() <= 1 else pictures
    whole = mosaic(pictures * 255 if pictures.max() <= 1 else pictures)
    as_rgb = whole if whole.ndim == 3 else np.repeat(whole[..., None], 3, axis=2)
    codes, encoding = [], []
    for effort in (7, 9):
        begun = time.perf_counter()
        codes.append(imagecodecs.jpegxl_encode(whole, lossless=True, effort=effort))
        encoding.append(time.perf_counter() - begun)
    best, seconds = min(zip(codes, encoding, strict=True), key=lambda one: len(one[0]))
    begun = time.perf_counter()
    imagecodecs.jpegxl_decode(best)
    decoding = time.perf_counter() - begun
    sizes = {
        "JPEG XL mosaic": len(best),
        "WebP mosaic": len(imagecodecs.webp_encode(as_rgb, lossless=True, level=100, method=6)),
        "PNG mosaic": len(imagecodecs.png_encode(whole, level=9)),
        "lzma -9e": len(lzma.compress(raw.tobytes(), preset=9 | lzma.PRESET_EXTREME)),
    }
    rates = {"encode": len(pictures) / seconds, "decode": len(pictures) / decoding}
    print(json.dumps({"bytes": sizes, "images_per_s": {"JPEG XL mosaic": rates}}))
