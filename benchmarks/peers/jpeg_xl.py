"""Pictures through JPEG XL with a loss, in the environment "codecs".

    python -m benchmarks.peers.jpeg_xl pictures.npy out.npz D D ...     # (N, H, W, C) uint8, and distances

Writes for each distance D, of which 1 is said to be the least that is seen: `bytes-D` of each picture, and `x-D`, what
comes back.
"""

from __future__ import annotations

import sys
from typing import Any

import imagecodecs
import numpy as np

if __name__ == "__main__":
    pictures = np.load(sys.argv[1])
    found: dict[str, Any] = {}
    for distance in sys.argv[3:]:
        codes = [imagecodecs.jpegxl_encode(x, distance=float(distance), effort=7) for x in pictures]
        found[f"bytes-{distance}"] = np.array([len(code) for code in codes])
        found[f"x-{distance}"] = np.stack([imagecodecs.jpegxl_decode(code) for code in codes])
    np.savez(sys.argv[2], **found)
