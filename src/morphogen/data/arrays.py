"""Arrays of .npz files: read without ever unpickling, and checked."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import DataError


def read_arrays(path: Path, *needed: str) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name.

    Raises `DataError` if the file is missing or broken, holds objects, or lacks a `needed` array.
    """
    if not path.is_file():
        raise DataError(f"{path.name} is not in the folder {str(path.parent)!r}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if "Object arrays" in str(error):
            raise DataError(
                f"{path.name} holds arrays of Python objects, which could run code and are not read;"
                f" save plain numbers and strings."
            ) from None
        raise DataError(f"{path.name} cannot be read as .npz ({error}).") from None
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DataError(f"{path.name} lacks the array {missing[0]!r}; it holds {', '.join(arrays) or 'none'}.")
    return arrays


def pictures_from(images: np.ndarray) -> Tensor:
    """uint8 (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1, 3 or 4 to (N, C, H, W)."""
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4):
        raise DataError(
            f"pictures must have the shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels,"
            f" got {images.shape}."
        )
    return torch.from_numpy(np.ascontiguousarray(images))
