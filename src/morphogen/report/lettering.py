r"""Labels on pictures, in shipped fonts. Characters that these lack are written as escapes, not as boxes.

The fonts hold letters of alphabets that are written from left to right. Scripts that are written from right to left
need an order and joins that only a layout engine knows; without one they would be drawn as other words.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import ImageFont

from morphogen.core.printable import one_line, shortened

SIZE = 13
LONGEST = 200  # characters of a label
_NOTHING = "\U0010fffe"  # no character, so that fonts draw what they draw for those that they lack
_RIGHT_TO_LEFT = ("R", "AL", "AN")


def lettered(text: str) -> tuple[str, Any]:
    """The text as it is drawn, in one line, and a font that has all of its characters."""
    text = shortened(one_line(text), LONGEST)
    for font in (_plain(), _wide()):
        if all(_draws(font, character) for character in text):
            return text, font
    return "".join(c if _draws(_wide(), c) else _escaped(c) for c in text), _wide()


def drawable(text: str) -> str:
    """The text as the font of plots (DejaVu Sans) can draw it."""
    return "".join(c if _draws(_wide(), c) else _escaped(c) for c in shortened(one_line(text), LONGEST))


@lru_cache(maxsize=1)
def _plain() -> Any:
    return ImageFont.load_default(size=SIZE)


@lru_cache(maxsize=1)
def _wide() -> Any:
    import matplotlib  # it brings a font of 6,000 characters

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), SIZE - 1, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _draws(font: Any, character: str) -> bool:
    if unicodedata.bidirectional(character) in _RIGHT_TO_LEFT:
        return False
    if character.isspace():
        return True
    mask, missing = font.getmask(character), font.getmask(_NOTHING)
    return bool(mask.getbbox()) and (mask.size != missing.size or bytes(mask) != bytes(missing))


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()
