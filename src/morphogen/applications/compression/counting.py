"""Counting honestly: the same records by general codecs, and from how many records on a model is worth its bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image

from morphogen.evaluation.metrics.codecs import bits_per_dim_of_codecs


def rivals(values: np.ndarray) -> dict[str, float]:
    """Bits per dimension of records (n, *shape) uint8 by LZMA and bzip2 together, and by PNG and WebP one by one."""
    found = bits_per_dim_of_codecs(torch.from_numpy(values))
    if values.ndim == 4 and values.shape[1] in (1, 3):
        pictures = values * 255 if values.max() <= 1 else values
        size = sum(len(_webp(picture)) for picture in pictures)
        found["WebP (one by one)"] = 8.0 * size / values.size
    return found


def break_even(model_bytes: int, bits_per_dim: float, rivals: Iterable[float], dimensions: int) -> int | None:
    """The least n with model_bytes + n r d / 8 <= n r' d / 8, r' the best rival's rate; None where there is none.

    Args:
        model_bytes: of the model.
        bits_per_dim: r, of the archive without the model.
        rivals: rates of others.
        dimensions: d, of a record.

    Example:
        >>> break_even(1000, 1.0, [1.5, 2.0], 100)
        160
    """
    best = min(rivals, default=-math.inf)
    if best <= bits_per_dim:
        return None
    return math.ceil(model_bytes / ((best - bits_per_dim) * dimensions / 8.0))


def _webp(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0))
    image.save(out, "WEBP", lossless=True, quality=100, method=6)
    return out.getvalue()
