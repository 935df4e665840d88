"""What is checked before a decoder sees a file: that it is one, what it is, and what it asks for.

A few bytes can ask for gigabytes: a header with 10^9 pixels, a directory of 65,535 entries that all hold the same
megabyte, a picture of a million refinements. Pillow also knows formats whose reading starts other programs
(PostScript). So only `FORMATS` are opened, and each of those claims has a bound.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from functools import cache
from pathlib import Path
from typing import IO, Any

from PIL import Image

from morphogen.core.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000")
IN_WORDS = "PNG, JPEG, WebP, GIF, TIFF, BMP, PPM, AVIF and JPEG 2000"
MAX_PIXELS = 89_478_485  # of one picture, as Pillow has it: a quarter of 1 GiB in RGB
MAX_BYTES = 1 << 29  # of one file
_MAX_VISITS = 1 << 32  # pixels times passes over them
_MAX_EXIF = 1 << 16

_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}  # bytes of the types of EXIF

_SIGNATURES = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"
    rb"|.{4}ftyp(?:avif|avis|mif1)|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|P[1-6]\s+[#\d]",
    re.DOTALL,
)
# What people take for pictures, by its first bytes
_OTHERS = {
    rb"%!PS|\xc5\xd0\xd3\xc6": "PostScript",
    rb"%PDF": "PDF",
    rb"8BPS": "Photoshop's format",
    rb"\s*<(\?xml|svg)": "SVG",
    rb".{4}ftyp(heic|heix|hevc|mif1|msf1)": "HEIC",
    rb".{4}ftyp": "a film",
    rb"\0\0\x01\0": "an icon",
    rb"version https://git-lfs": "a pointer of Git LFS, whose content was not fetched,",
}


def open_file(path: Path) -> IO[bytes]:
    """A regular file of bounded size. Raises `OSError` where it cannot be opened, and `DataError` for anything else."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = open(descriptor, "rb")  # noqa: SIM115 - the caller closes it
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_BYTES:
        file.close()
        regular = stat.S_ISREG(about.st_mode)
        raise DataError(f"has {about.st_size:,} bytes, at most {MAX_BYTES:,} are read" if regular else "is no file")
    return file


def looks_like_picture(path: Path) -> bool:
    """Whether the first bytes are those of one of `FORMATS`."""
    try:
        with open_file(path) as file:
            return _SIGNATURES.match(file.read(32)) is not None
    except (OSError, DataError):
        return False


@cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def what_it_is(head: bytes) -> str:
    """Why a file that begins like this is not read."""
    for pattern, name in _OTHERS.items():
        if re.match(pattern, head, re.DOTALL):
            return f"{name} is not read"
    if not head.strip(b"\0"):
        return "it is empty" if not head else "its first bytes are all zero"
    return f"its content is none of {IN_WORDS}"


class Metered:
    """A file that may be read a few times over and not more: entries that all point to one place end there."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END)
        self._left = 8 * self.size + (1 << 20)
        file.seek(0)

    def read(self, n: int = -1, /) -> bytes:
        """As of a file. Raises `DataError` where too much was read in all."""
        data = self._file.read(n)
        self._left -= len(data)
        if self._left < 0:
            raise DataError("cannot be read as a picture (its parts claim the same bytes again and again)")
        return data

    def __getattr__(self, name: str) -> Any:
        if name in ("seek", "tell", "readline", "close"):
            return getattr(self._file, name)
        raise AttributeError(name)  # `fileno` and `getvalue` would lead around the meter


def check_size(width: int, height: int) -> None:
    """Raises `DataError` for a picture that is too large to decode."""
    if width * height > MAX_PIXELS:
        raise DataError(f"is {height}x{width} (height x width), more than the {MAX_PIXELS:,} pixels that are read")


def check_claims(file: Metered) -> None:
    """Raises `DataError` for what Pillow would spend memory or time on while it opens or decodes the file."""
    file.seek(0)
    head = file.read(30)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":  # the canvas is taken on opening
        check_size(*_webp_size(head))
    if head[:2] == b"\xff\xd8":
        _check_jpeg(file)
    if head[4:8] == b"ftyp":  # Pillow reads the EXIF of AVIF on opening
        _check_exif(head + file.read())
    file.seek(0)


def check_tiles(image: Image.Image) -> None:
    """Raises `DataError` for a TIFF of larger tiles than any picture."""
    tags = getattr(image, "tag_v2", {})
    if 322 in tags and 323 in tags:
        check_size(int(tags[322]), int(tags[323]))


def _webp_size(head: bytes) -> tuple[int, int]:
    def number(start: int, end: int) -> int:
        return int.from_bytes(head[start:end], "little")

    if head[12:16] == b"VP8X":
        return number(24, 27) + 1, number(27, 30) + 1
    if head[12:16] == b"VP8L":
        return (number(21, 25) & 0x3FFF) + 1, (number(21, 25) >> 14 & 0x3FFF) + 1
    return number(26, 28) & 0x3FFF, number(28, 30) & 0x3FFF


def _check_exif(data: bytes) -> None:
    """Raises `DataError` where the entries of a directory hold the same bytes again and again."""
    for found in re.finditer(rb"II\*\0|MM\0\*", data):
        order = "<" if found[0][:1] == b"I" else ">"
        claims = 0
        try:
            (start,) = struct.unpack_from(order + "I", data, found.start() + 4)
            (count,) = struct.unpack_from(order + "H", data, found.start() + start)
            for entry in range(count):
                _, kind, n, _ = struct.unpack_from(order + "HHII", data, found.start() + start + 2 + 12 * entry)
                size = n * _UNITS.get(kind, 0)
                claims += size if size <= len(data) else 0
        except struct.error:  # the end of the file
            pass
        if claims > 8 * len(data) + (1 << 20):
            raise DataError("cannot be read as a picture (its parts claim the same bytes again and again)")


def _check_jpeg(file: Metered) -> None:
    """EXIF over many segments is put together and its entries may all hold the whole; a scan refines all pixels."""
    file.seek(2)
    exif, pixels = 0, 0
    while len(start := file.read(4)) == 4 and start[0] == 0xFF:
        if start[1] == 0xFF:  # a filling byte
            file.seek(-3, os.SEEK_CUR)
            continue
        length = int.from_bytes(start[2:], "big")
        if start[1] == 0xDA or length < 2:
            break
        body = file.read(min(length - 2, 6))
        exif += length if start[1] == 0xE1 and body == b"Exif\0\0" else 0
        if 0xC0 <= start[1] <= 0xCF and start[1] not in (0xC4, 0xC8, 0xCC):
            pixels = int.from_bytes(body[1:3], "big") * int.from_bytes(body[3:5], "big")
        file.seek(length - 2 - len(body), os.SEEK_CUR)
    if exif > _MAX_EXIF + 8:
        raise DataError(f"holds {exif:,} bytes of EXIF, at most {_MAX_EXIF:,} are read")
    file.seek(0)
    scans = 0
    while block := file.read(1 << 20):
        scans += block.count(b"\xff\xda")
    if scans * pixels > _MAX_VISITS:
        raise DataError(f"is a JPEG that goes over its pixels {scans:,} times, more than is read")
