"""Arrays of .npz files that must be there, and arrays as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.data.array_file import ArrayFile

_CHANNELS = (1, 3, 4)


def read_arrays(path: Path, *needed: str, optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The `needed` arrays of an .npz file by name, and those of the `optional` ones that it has; no others are read.

    Raises `DataError` if the file is missing or broken, holds objects, or lacks a `needed` array.
    """
    if not path.exists():
        raise DataError(f"{path.name} is not in the folder {str(path.parent)!r}.")
    with ArrayFile(path) as file:
        missing = [name for name in needed if name not in file.names]
        if missing:
            raise DataError(f"{path.name} lacks the array {missing[0]!r}; it holds {file.described()}.")
        return file.read([*needed, *(name for name in optional if name in file.names)])


def pictures_from(images: np.ndarray) -> Tensor:
    """(N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1, 3 or 4 to (N, C, H, W).

    Where both orders are possible, such as (N, 4, 4, 3), the one that gives square pictures is meant, and else the
    second one.
    """
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in _CHANNELS:
        _, first, second, third = images.shape
        if first not in _CHANNELS or (first == second and second != third):
            images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in _CHANNELS:
        raise DataError(
            f"pictures must have the shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels,"
            f" got {images.shape}."
        )
    return torch.from_numpy(np.ascontiguousarray(images))
