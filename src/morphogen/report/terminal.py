"""Pictures in a terminal: each character cell shows two pixels, one above the other."""

from __future__ import annotations

import numpy as np
from PIL import Image
from rich.color import Color
from rich.style import Style
from rich.text import Text


def half_blocks(image: Image.Image, columns: int) -> Text:
    """The image as lines of colored half blocks, shrunk if need be to `columns` characters."""
    width = min(image.width, columns)
    height = max(2, round(image.height * width / image.width))
    pixels = np.asarray(image.convert("RGB").resize((width, height + height % 2), Image.Resampling.BOX))
    text = Text(no_wrap=True)
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    return text
