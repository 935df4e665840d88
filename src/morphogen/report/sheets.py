"""Sheets of pictures: many small pictures in one, enlarged by a whole factor so that single pixels stay visible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from morphogen.core.errors import DataError
from morphogen.report.lettering import lettered

if TYPE_CHECKING:
    from morphogen.core.data_spec import DataSpec

Color = tuple[int, int, int]
GAP: Color = (205, 208, 212)  # stands apart from black and from white pictures alike
INK: Color = (55, 60, 66)
_TILE = 64  # smaller pictures are enlarged to about this many pixels
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_bytes(stored: ArrayLike, spec: DataSpec) -> NDArray[np.uint8]:
    """Stored elements of pictures to 8 bits, (N, C, H, W) uint8, by an affine map of their whole range to 0 .. 255.

    The range is 0 .. levels - 1 for stored levels, 0 .. 1 for binary pictures, and shift -+ scale
    (x in [-1, 1]) for real numbers. Raises `DataError` where `spec` describes no pictures.
    """
    if not spec.is_picture:
        raise DataError(f"{spec.name}: records of shape {spec.shape} are no pictures; expected (1, 3 or 4, H, W).")
    values = np.asarray(stored)
    low, high = spec.stored_range
    if values.dtype == np.uint8 and high == 255.0:
        return values
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(scaled.clip(0.0, 255.0)).astype(np.uint8)


def picture(pixels: ArrayLike) -> Image.Image:
    """One picture (C, H, W) uint8 with C = 1, 3 or 4 as an image, pixel for pixel."""
    array = np.asarray(pixels)
    _check(array[None])
    channels = array.shape[0]
    return Image.fromarray(array[0] if channels == 1 else array.transpose(1, 2, 0), _MODES[channels])


def sheet(
    pictures: ArrayLike,
    *,
    columns: int | None = None,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    scale: int | None = None,
    background: Color = GAP,
    gap: int | None = None,
) -> Image.Image:
    """Lay pictures (N, C, H, W) uint8 out in rows; the same pictures always give the same bytes.

    columns  pictures in a row; about a square by default
    row_labels, column_labels   text left of the rows and above the columns, escaped where no font of ours draws it
    scale    whole enlargement factor; by default such that a picture is about 64 pixels wide
    gap      pixels between two pictures; by default a thin line
    """
    array = np.asarray(pictures)
    _check(array)
    n, channels, height, width = array.shape
    columns = columns or _about_square(n)
    rows = math.ceil(n / columns)
    scale = scale or max(1, round(_TILE / max(height, width)))
    gap = max(2, scale // 3) if gap is None else gap
    beside, above = ([lettered(text) for text in labels] for labels in (row_labels[:rows], column_labels[:columns]))
    left = max((math.ceil(font.getlength(text)) for text, font in beside), default=-10) + 10
    top = 20 if column_labels else 0
    pitch_x, pitch_y = width * scale + gap, height * scale + gap
    # Labels want a quiet ground; an unlabeled sheet is gap color all over.
    canvas = Image.new("RGB", (left + columns * pitch_x + gap, top + rows * pitch_y + gap), (255, 255, 255))
    canvas.paste(background, (left, top, canvas.width, canvas.height))
    for i in range(n):
        row, column = divmod(i, columns)
        tile = picture(array[i]).resize((width * scale, height * scale), Image.Resampling.NEAREST)
        at = (left + gap + column * pitch_x, top + gap + row * pitch_y)
        canvas.paste(tile, at, mask=tile if channels == 4 else None)
    draw: Any = ImageDraw.Draw(canvas)
    for row, (text, font) in enumerate(beside):
        middle = top + gap + row * pitch_y + height * scale / 2
        draw.text((left - 6, middle), text, INK, font=font, anchor="rm")
    for column, (text, font) in enumerate(above):
        middle = left + gap + column * pitch_x + width * scale / 2
        draw.text((middle, top - 6), text, INK, font=font, anchor="ms")
    return canvas


def paired_sheet(above: ArrayLike, below: ArrayLike, row_labels: tuple[str, str]) -> Image.Image:
    """Rows of pictures (N, C, H, W) uint8, each with the row of those that belong to them below it."""
    first, second = np.asarray(above), np.asarray(below)
    n = len(first)
    columns = next((c for c in range(16, 7, -1) if n % c == 0), min(n, 16))  # full rows if that is possible
    rows = -(-n // columns)
    room = np.full((rows, 2, columns, *first.shape[1:]), GAP[0], np.uint8)
    for row in range(rows):
        part = slice(row * columns, (row + 1) * columns)
        room[row, 0, : len(first[part])] = first[part]
        room[row, 1, : len(second[part])] = second[part]
    return sheet(room.reshape(-1, *first.shape[1:]), columns=columns, row_labels=list(row_labels) * rows)


def _about_square(n: int) -> int:
    """Columns for `n` pictures: full rows, unless they would be more than twice as wide as high."""
    side = math.ceil(math.sqrt(n))
    return next((c for c in range(side, math.isqrt(2 * n) + 1) if n % c == 0), side)


def _check(array: NDArray[Any]) -> None:
    if array.ndim != 4 or array.shape[1] not in _MODES or array.dtype != np.uint8 or not len(array):
        raise DataError(
            "a picture sheet needs at least one picture, uint8 of shape (N, 1 or 3 or 4, H, W);"
            f" got {array.dtype} of shape {array.shape}. `to_bytes` converts stored records."
        )
