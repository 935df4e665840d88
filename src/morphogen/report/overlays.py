"""Draw maps over their pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morphogen.core.errors import DataError

COLOR = (217, 72, 1)
_LUMA = (0.299, 0.587, 0.114)
_STRONGEST = 0.9  # opacity where a map is largest, so that the picture stays visible


def overlays(pictures: ArrayLike, maps: ArrayLike) -> NDArray[np.uint8]:
    """Pictures (N, C, H, W) uint8 and K maps >= 0 of each, (N, K, H, W) -> (N, 1 + K, 3, H, W) uint8.

    First the picture, then, for each map, the picture in gray under a color whose opacity is in proportion to the map:
    none for 0, and 90 % for the largest value of all maps of that picture, so that these compare.
    """
    pixels, values = np.asarray(pictures), np.asarray(maps, dtype=np.float64)
    n, channels, *size = pixels.shape
    if values.ndim != 4 or (values.shape[0], *values.shape[2:]) != (n, *size) or not (values >= 0).all():
        raise DataError(
            f"overlays need maps of at least 0 for pictures of shape {pixels.shape}, (N, K, H, W) of their size; got"
            f" {values.shape}."
        )
    color = pixels.astype(np.float64)
    if channels == 4:  # on white
        alpha = color[:, 3:] / 255.0
        color = alpha * color[:, :3] + (1.0 - alpha) * 255.0
    color = np.broadcast_to(color, (n, 3, *size))
    gray = np.tensordot(color, np.array(_LUMA), axes=(1, 0))[:, None, None]  # (N, 1, 1, H, W)
    largest = values.max(axis=(1, 2, 3), keepdims=True, initial=1e-12)
    opacity = (_STRONGEST * values / largest)[:, :, None]  # (N, K, 1, H, W)
    over = (1.0 - opacity) * gray + opacity * np.array(COLOR, dtype=np.float64)[:, None, None]
    return np.rint(np.concatenate((color[:, None], over), axis=1)).astype(np.uint8)
