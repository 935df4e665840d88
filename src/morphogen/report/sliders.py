"""Pictures under one or two sliders: all of them lie in one sprite, of which a window shows one.

The sprite is a grid of `rows` x `columns` pictures of equal size. A slider moves it behind the window; `sliders.js` is
the whole of the program, and a page without JavaScript shows the picture that the sliders begin at.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from PIL import Image

from morphogen.core.errors import DataError
from morphogen.report.html import embedded, escape, inline

_COLORS = 256  # of a sprite: a palette makes it three times smaller


def slider(
    frames: Sequence[Sequence[Image.Image]],
    caption: str,
    *,
    names: Sequence[str],
    labels: Sequence[str] = (),
    begin: tuple[int, int] = (0, 0),
    scale: int = 1,
) -> str:
    """The element that shows frames[row][column]: one slider chooses the column and, of several rows, another one.

    names   what each slider moves, one or two
    labels  said beside the first slider, one for each column
    begin   the row and the column that are shown first
    scale   pixels of the page a pixel
    Raises `DataError` for frames of several sizes, or not as many names as sliders.
    """
    rows, columns = len(frames), len(frames[0]) if frames else 0
    sizes = {frame.size for row in frames for frame in row}
    if not columns or len(sizes) != 1 or any(len(row) != columns for row in frames):
        raise DataError(f"a slider needs rows of equally many frames of one size; got {sorted(sizes) or 'none'}.")
    if len(names) != 1 + (rows > 1) or (labels and len(labels) != columns):
        raise DataError(f"{rows} x {columns} frames need {1 + (rows > 1)} named sliders, and {columns} labels or none.")
    ((width, height),) = sizes
    sprite = Image.new("RGB", (columns * width, rows * height))
    for y, row in enumerate(frames):
        for x, frame in enumerate(row):
            sprite.paste(frame, (x * width, y * height))
    view = (
        f'<div class="view" role="img" aria-label="{escape(caption)}" data-columns="{columns}" data-rows="{rows}"'
        f' style="width:{width * scale}px;aspect-ratio:{width}/{height};background-size:{100 * columns}% {100 * rows}%;'
        f"background-position:{_share(begin[1], columns)} {_share(begin[0], rows)};"
        f'background-image:url({embedded(sprite.quantize(_COLORS, dither=Image.Dither.NONE))})"></div>'
    )
    ends = ((columns - 1, begin[1]), (rows - 1, begin[0]))
    inputs = "".join(
        f'<label>{inline(name)} <input type="range" min="0" max="{end}" value="{at}"></label>'
        for name, (end, at) in zip(names, ends, strict=False)
    )
    said = f'<output data-labels="{escape(json.dumps(list(labels)))}"></output>' if labels else ""
    return (
        f'<figure class="slider"><div class="plate">{view}</div>{inputs}{said}'
        f"<figcaption>{inline(caption)}</figcaption></figure>"
    )


def _share(i: int, n: int) -> str:
    return f"{100 * i / (n - 1):g}%" if n > 1 else "0%"
