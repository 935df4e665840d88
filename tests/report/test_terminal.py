"""Half blocks: two pixels a cell, in their own colors."""

from __future__ import annotations

import numpy as np
from PIL import Image

from morphogen.report.terminal import half_blocks


def test_every_cell_shows_the_pixel_above_and_the_pixel_below() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    text = half_blocks(Image.fromarray(pixels), columns=10)
    assert text.plain == "▀▀▀\n▀▀▀\n"
    for cell, span in enumerate(text.spans):
        row, column = divmod(cell, 3)
        assert tuple(span.style.color.triplet) == tuple(pixels[2 * row, column])
        assert tuple(span.style.bgcolor.triplet) == tuple(pixels[2 * row + 1, column])


def test_a_wide_picture_shrinks_to_the_columns() -> None:
    lines = half_blocks(Image.new("L", (200, 100)), columns=40).plain.splitlines()
    assert len(lines) == 10 and {len(line) for line in lines} == {40}
