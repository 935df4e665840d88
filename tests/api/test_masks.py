"""Masks: whatever a white stroke touches is redrawn; a mask that says nothing is told why."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.data.one_picture import mask_of


def spec(size: int = 16, resize: str = "stretch") -> DataSpec:
    how = {"size": f"{size}x{size}", "resize": resize}
    return DataSpec(name="photos", shape=(3, size, size), kind="continuous", levels=256, preprocessing=how)


def reduced(mask: np.ndarray, data: DataSpec, tiles: bool = False) -> np.ndarray:
    return np.asarray(mask_of(torch.from_numpy(mask)[None, None], data, "mask.png", tiles))[0, 0]


@pytest.mark.parametrize("side", [64, 50, 16, 8])
@pytest.mark.parametrize("column", [0, 5, 7])
def test_a_line_of_one_pixel_is_redrawn_at_any_size(side: int, column: int) -> None:
    mask = np.zeros((side, side), np.uint8)
    mask[:, column] = 255
    first, last = column * 16 // side, -(-(column + 1) * 16 // side)  # of the pixels that the line touches
    expected = np.zeros((16, 16), bool)
    expected[:, first:last] = True
    assert (reduced(mask, spec()) == expected).all()


def test_a_line_beside_a_square_is_kept_and_nothing_else_is_redrawn() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 30] = 255
    mask[:16, :16] = 255
    expected = np.zeros((16, 16), bool)
    expected[:, 7] = True
    expected[:4, :4] = True
    assert (reduced(mask, spec()) == expected).all()
    assert (reduced(mask, spec(), tiles=True) == (mask > 127)).all()


def test_a_mask_that_says_nothing_is_told_why() -> None:
    with pytest.raises(UsageError, match="is black"):
        reduced(np.zeros((64, 64), np.uint8), spec())
    with pytest.raises(UsageError, match="values of at most 1, where white is 255"):
        reduced(np.eye(64, dtype=np.uint8), spec())
    cut = np.zeros((64, 128), np.uint8)
    cut[:, 0] = 255
    with pytest.raises(UsageError, match="64 white pixels of 64x128 none is left at 16x16"):
        reduced(cut, spec(resize="crop"))
