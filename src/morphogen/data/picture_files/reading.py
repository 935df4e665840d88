"""One picture file to bytes (C, H, W).

Order of operations: orientation (EXIF, XMP), values of more than 8 bits, palettes and other modes to 8 bits a channel,
color profile to sRGB. What is unusual about a picture and was honored is told with it.

Values of more than 8 bits become v -> round(255 v / (2^bits - 1)). Files of 16 bits often hold 12 (detectors,
radiology), so that `bits` is the range that the values of all pictures of a data set fill, unless an option says it.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.printable import one_line
from morphogen.data.picture_files import guards
from morphogen.data.picture_files.profiles import to_srgb

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What is said once of all pictures of a kind: "12 pictures with ..."
UNUSUAL = {
    "turned": "an orientation in EXIF or XMP, turned by it",
    "profile": "a color profile, converted to sRGB",
    "bad profile": "a color profile that cannot be read or is made for other channels, taken as sRGB",
    "cmyk": "the four colors of print (CMYK) and no profile, converted by the plain formula",
    "palette": "a palette, whose colors are used",
    "gray palette": "a palette of grays, read as gray",
    "mask": "1 bit a pixel, black or white",
    "transparent": "transparency",
    "deep": "more than 8 bits a pixel",
    "deep color": "16 bits in each color, whose upper 8 are used",
    "white is zero": "zero for white (TIFF), inverted",
}


@dataclass(frozen=True)
class Picture:
    """`values` (C, H, W) uint8 with C = 1, 3 or 4; `unusual`: keys of `UNUSUAL`; `largest`: the largest value of a
    picture with more than 8 bits a value, else None."""

    values: Tensor
    unusual: tuple[str, ...] = ()
    largest: int | None = None


@dataclass(frozen=True)
class Header:
    """The size as shown, and whether values have more than 8 bits."""

    height: int
    width: int
    deep: bool


def bits_for(largest: int) -> int:
    """The bits of the smallest range that holds a value, at least 8."""
    return max(8, int(largest).bit_length())


def to_bytes(values: np.ndarray, bits: int) -> np.ndarray:
    """round(255 v / (2^bits - 1)) of int32 values in that range."""
    top = (1 << bits) - 1
    return ((values * 510 + top) // (2 * top)).astype(np.uint8)


def decode(file: IO[bytes], bits: int | None = None) -> Tensor:
    """One picture file as (C, H, W) uint8 with C = 1, 3 or 4; see `read_picture`."""
    return read_picture(file, bits).values


def read_picture(file: IO[bytes], bits: int | None = None) -> Picture:
    """One picture file. Raises `DataError` that says why not.

    bits   values of more than 8 bits lie below 2^bits; None: in the smallest such range that holds them
    """
    with _opened(file) as image:
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise DataError("holds several frames, expected one picture")
        deep, tags = _is_deep(image), getattr(image, "tag_v2", {})
        turned = int(tags.get(0x0112, 1)) in _TURNS  # of TIFF, which Pillow turns itself
        inverted = tags.get(262) == 0 and image.mode in _DEEP  # Pillow inverts up to 8 bits
        image.load()
        profile = image.info.get("icc_profile") or b""
        if image.format != "TIFF" and (turn := _TURNS.get(_orientation(image))) is not None:
            turned, image = True, _turned(image, turn)
        unusual = ["turned"] if turned else []
        if image.mode in _DEEP:
            values, largest = _shades(image, bits, inverted)
            return Picture(values, (*unusual, "deep", *["white is zero"] * inverted), largest)
        values, more = _colors(image, profile)
    if not deep:
        return Picture(values, (*unusual, *more))
    largest = int((values[:3] if len(values) == 4 else values).max()) * 257  # of which the upper 8 bits are known
    if (bits or bits_for(largest)) < 16:
        raise DataError(
            "has 16 bits in each color, of which only the upper 8 are read, and the values do not fill them;"
            " save it with 8 bits a color"
        )
    return Picture(values, (*unusual, *more, "deep color"), largest)


def decode_image(image: Image.Image, bits: int | None = None) -> Tensor:
    """An image that a program holds, as (C, H, W) uint8, by the rules of a file. Raises `DataError`."""
    if image.mode in _DEEP:
        return _shades(image, bits, inverted=False)[0]
    return _colors(image, image.info.get("icc_profile") or b"")[0]


def header(file: IO[bytes]) -> Header | None:
    """What the header says; None where the picture cannot be read, which `read_picture` explains."""
    try:
        with _opened(file) as image:
            width, height = image.size
            if image.format != "TIFF" and _orientation(image) >= 5:  # these swap the sides
                width, height = height, width
            return Header(height, width, _is_deep(image))
    except DataError:
        return None


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[Image.Image]:
    """The image, checked and not yet decoded. Whatever goes wrong with it inside is a `DataError` in words."""
    try:
        metered = guards.Metered(file)
        guards.check_claims(metered)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what can be used is used; what cannot be used raises
            with Image.open(cast("IO[bytes]", metered), formats=guards.formats()) as image:
                guards.check_size(*image.size)
                guards.check_tiles(image)
                yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        file.seek(0)
        raise DataError(f"cannot be read as a picture ({guards.what_it_is(file.read(64))})") from None
    except Exception as error:  # a decoder of foreign bytes raises anything
        raise DataError(f"cannot be read as a picture ({_reason(error)})") from None


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has 16 bits a value, also where Pillow keeps 8 of them."""
    if image.mode in _DEEP:
        return True
    tile: Any = getattr(image, "tile", None)
    arguments = tile[0][3] if tile else None
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return isinstance(raw, str) and ";16" in raw


def _orientation(image: Image.Image) -> int:
    """1 to 8, from EXIF or XMP; 1 where neither says it or can be read."""
    exif = image.info.get("exif")
    if exif is None and isinstance(raw := image.info.get("Raw profile type exif"), str):
        try:
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
        except ValueError:
            exif = None
    found = _exif_orientation(exif) if isinstance(exif, bytes) else None
    if found is None:
        xmp = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
        text = xmp if isinstance(xmp, bytes) else str(xmp).encode(errors="replace")
        match = re.search(rb"tiff:Orientation(?:=\"|>)([1-8])", text)
        found = int(match[1]) if match else None
    return found or 1


def _exif_orientation(exif: bytes) -> int | None:
    """Tag 0x0112 of the first directory; Pillow's own reader takes memory for whatever the directory claims."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    try:
        if order is None:
            return None
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, start + 2 + 12 * entry)
            if (tag, kind) == (0x0112, 3):
                return value if 1 <= value <= 8 else None
    except struct.error:
        return None
    return None


def _turned(image: Image.Image, turn: Image.Transpose) -> Image.Image:
    turned = image.transpose(turn)
    turned.info.update(image.info)
    return turned


def _shades(image: Image.Image, bits: int | None, inverted: bool) -> tuple[Tensor, int]:
    values = np.asarray(image).astype(np.int32)
    low, largest = int(values.min()), int(values.max())
    if low < 0 or largest > 65535:
        raise DataError(f"has values from {low} to {largest}, expected at most 16 bits")
    bits = bits or bits_for(largest)
    if largest >> bits:
        raise DataError(f"has values up to {largest}, more than {bits} bits, the range of the data, hold")
    if inverted:
        values = (1 << bits) - 1 - values
    return torch.from_numpy(to_bytes(values, bits))[None], largest


def _colors(image: Image.Image, profile: bytes) -> tuple[Tensor, list[str]]:
    """(C, H, W) in sRGB, and what is unusual."""
    unusual: list[str] = []
    if image.mode == "F":
        raise DataError("holds 32-bit floating point values; store it with 8 or 16 bits, or use .npz")
    if image.mode == "CMYK":
        changed, done = to_srgb(image, profile) if profile else (image, "cmyk")
        unusual.append(done or "cmyk")
        image = changed if changed.mode == "RGB" else image.convert("RGB")
        profile = b""
    elif image.mode == "1":
        unusual.append("mask")
    has_alpha = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa", "RGBA")
    grays = image.mode == "P" and not has_alpha and _is_gray_palette(image)
    if image.mode in ("P", "PA"):
        unusual.append("gray palette" if grays else "palette")
    wanted = "RGBA" if has_alpha else "L" if image.mode in ("1", "L") else "RGB"
    if image.mode != wanted:
        image = image.convert(wanted)
    if profile and image.mode != "L" and not grays:
        image, done = to_srgb(image, profile)
        unusual += [done] if done else []
    values = np.array(image)
    if values.ndim == 3 and values.shape[2] == 4 and values[..., 3].min() < 255:
        unusual.append("transparent")
    stored = torch.from_numpy(values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1)))
    return (stored[:1].clone() if grays else stored), unusual


def _is_gray_palette(image: Image.Image) -> bool:
    """Whether all colors in use are gray."""
    colors = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
    used = np.flatnonzero(image.histogram()[:256])
    colors = colors[used[used < len(colors)]]
    return bool((colors == colors[:, :1]).all())


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    words = str(error).split("<_io")[0].split("<morphogen")[0].strip() or type(error).__name__
    if "MAX_TEXT" in words or "Decompressed data too large" in words:
        return "its texts or its color profile unpack to more than 1 MB"
    return one_line(words[:200]).rstrip(" .:")
