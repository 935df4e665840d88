"""Color profiles (ICC) to sRGB, as every viewer shows them.

A profile that maps colors to themselves within two bytes is sRGB by another name and changes nothing. One that is
broken, or is made for other channels than the picture has, changes nothing either, and is reported.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_MAX_BYTES = 4 << 20  # of a profile; those of presses have 2 MB
_SPACES = {"RGB": "RGB ", "CMYK": "CMYK"}
_SAME = 2  # of 255


def to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, str | None]:
    """An image of mode RGB, RGBA or CMYK in sRGB, and what was done: "profile", "bad profile" or None for nothing."""
    colors, alpha = image, None
    if image.mode == "RGBA":
        colors, alpha = image.convert("RGB"), image.getchannel("A")
    try:
        transform = _transform(profile, colors.mode) if len(profile) <= _MAX_BYTES else None
        if transform is None:
            return image, "bad profile"
        if colors.mode == "RGB" and _is_identity(profile):
            return image, None
        changed = transform.apply(colors)
    except Exception:  # lcms through Pillow raises several kinds
        return image, "bad profile"
    if alpha is not None:
        changed.putalpha(alpha)
    return changed, "profile"


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if source.profile.xcolor_space != _SPACES.get(mode):
        return None
    target = ImageCms.createProfile("sRGB")
    return ImageCms.ImageCmsTransform(source, ImageCms.ImageCmsProfile(target), mode, "RGB", ImageCms.Intent.PERCEPTUAL)


@lru_cache(maxsize=8)
def _is_identity(profile: bytes) -> bool:
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(16, 256, 3)
    transform = _transform(profile, "RGB")
    assert transform is not None
    changed = np.asarray(transform.apply(Image.fromarray(colors)))
    return int(np.abs(changed.astype(int) - colors).max()) <= _SAME
