"""Sizes of pictures by lossless codecs, in the environment "codecs".

    python -m benchmarks.peers.codecs pictures.npy     # (N, H, W, C) uint8

Prints bits per element for each codec at its best, picture by picture.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

import imagecodecs
import numpy as np

WAYS: Mapping[str, Callable[[Any], bytes]] = {
    "PNG": lambda x: imagecodecs.png_encode(x, level=9),
    "WebP": lambda x: imagecodecs.webp_encode(x, lossless=True, level=100, method=6),
    "JPEG XL": lambda x: imagecodecs.jpegxl_encode(x, lossless=True, effort=7),
}

if __name__ == "__main__":
    pictures = np.load(sys.argv[1])
    sizes = {name: sum(len(encode(x)) for x in pictures) for name, encode in WAYS.items()}
    print(json.dumps({name: 8.0 * size / pictures.size for name, size in sizes.items()}))
