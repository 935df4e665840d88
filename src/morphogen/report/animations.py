"""Animations: frames to GIF (256 colors, opens everywhere) or animated PNG (exact colors)."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from morphogen.core.errors import UsageError, unknown

FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG"}


def animation(
    frames: Sequence[Image.Image], *, suffix: str = ".gif", frames_per_second: float = 12.0, hold_s: float = 1.0
) -> bytes:
    """The bytes of an endless animation of `frames`, which all have one size.

    The last frame stays for `hold_s` seconds more, since it is the result. Raises `UsageError` for
    no frames, frames of several sizes, or a suffix other than .gif, .png and .apng.
    """
    if suffix not in FORMATS:
        raise UsageError(unknown("animation format", suffix, FORMATS))
    if not frames or len({frame.size for frame in frames}) != 1:
        raise UsageError(f"an animation needs frames of one size; got {sorted({f.size for f in frames}) or 'none'}.")
    step = 1000.0 / frames_per_second
    durations = [round(step)] * (len(frames) - 1) + [round(step + 1000.0 * hold_s)]
    ready = [frame.convert("RGB") for frame in frames]
    if FORMATS[suffix] == "GIF":
        ready = [frame.quantize(256, dither=Image.Dither.NONE) for frame in ready]
    out = io.BytesIO()
    ready[0].save(
        out, FORMATS[suffix], save_all=True, append_images=ready[1:], duration=durations, loop=0, optimize=False
    )
    return out.getvalue()
