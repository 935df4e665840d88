"""Sheets: every pixel lands where the arithmetic says, whatever the size, channels or range of the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.report.sheets import GAP, picture, sheet, to_bytes


def pictures(n: int, channels: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, size, size), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("size", "scale", "gap"), [(8, 8, 2), (28, 2, 2), (64, 1, 2), (3, 21, 7)])
def test_every_picture_can_be_read_back_from_the_sheet(channels: int, size: int, scale: int, gap: int) -> None:
    x = pictures(7, channels, size)
    image = np.asarray(sheet(x, columns=3))
    pitch = size * scale + gap
    assert image.shape == (3 * pitch + gap, 3 * pitch + gap, 3)
    for i in range(7):
        row, column = divmod(i, 3)
        tile = image[gap + row * pitch :, gap + column * pitch :][: size * scale, : size * scale]
        expected = np.broadcast_to(x[i].transpose(1, 2, 0), (size, size, 3))
        assert (tile == expected.repeat(scale, 0).repeat(scale, 1)).all()
    empty = image[gap + 2 * pitch :, gap + pitch :]
    assert (empty == np.array(GAP)).all()


@pytest.mark.parametrize(("n", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (9, 3, 3), (32, 8, 4), (7, 3, 3), (64, 8, 8)])
def test_the_default_layout_is_about_square_with_full_rows_where_possible(n: int, columns: int, rows: int) -> None:
    assert sheet(pictures(n, 1, 64)).size == (columns * 66 + 2, rows * 66 + 2)


def test_transparent_pixels_show_the_background() -> None:
    x = np.zeros((1, 4, 64, 64), np.uint8)
    x[0, 0], x[0, 3, :32] = 255, 255  # red, opaque in its upper half only
    image = np.asarray(sheet(x))
    assert (image[2:34, 2:66] == (255, 0, 0)).all()
    assert (image[34:66, 2:66] == GAP).all()


def test_the_same_pictures_give_the_same_bytes_and_labels_only_add_a_margin() -> None:
    x = pictures(6, 3, 16)
    plain = sheet(x, columns=3)
    assert plain.tobytes() == sheet(x, columns=3).tobytes()
    labeled = sheet(x, columns=3, row_labels=["one", "two"], column_labels=["a", "b", "c"])
    width, height = plain.size
    inner = labeled.crop((labeled.width - width, labeled.height - height, labeled.width, labeled.height))
    assert inner.tobytes() == plain.tobytes()
    margin = np.asarray(labeled.crop((0, 0, labeled.width - width, labeled.height)))
    assert margin.min() < 128, "row labels are drawn in the left margin"


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((0, 1, 8, 8), np.uint8),
        np.zeros((2, 2, 8, 8), np.uint8),
        np.zeros((1, 8, 8), np.uint8),
        np.zeros((1, 1, 8, 8)),
    ],
)
def test_what_is_no_picture_is_an_error_that_says_so(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8 of shape"):
        sheet(wrong)


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (DataSpec(name="d", shape=(1, 2, 2), kind="continuous", levels=17), 0, 16),
        (DataSpec(name="d", shape=(1, 2, 2), kind="continuous", levels=256), 0, 255),
        (DataSpec(name="d", shape=(1, 2, 2), kind="binary"), 0, 1),
        (DataSpec(name="d", shape=(1, 2, 2), kind="continuous", shift=5.0, scale=2.0), 3.0, 7.0),
    ],
)
def test_to_bytes_maps_the_whole_range(spec: DataSpec, low: float, high: float) -> None:
    stored = np.linspace(low, high, 4).reshape(1, 1, 2, 2)
    if spec.levels or spec.kind == "binary":
        stored = stored.round().astype(np.uint8)
    got = to_bytes(stored, spec)
    assert got.dtype == np.uint8
    assert got.min() == 0 and got.max() == 255
    assert np.abs(got - (stored - low) * 255.0 / (high - low)).max() <= 0.5


def test_to_bytes_refuses_records_that_are_no_pictures() -> None:
    with pytest.raises(DataError, match="no pictures"):
        to_bytes(np.zeros((3, 2)), DataSpec(name="points", shape=(2,), kind="continuous"))


def test_picture_keeps_pixels() -> None:
    x = pictures(1, 3, 5)[0]
    assert (np.asarray(picture(x)) == x.transpose(1, 2, 0)).all()
