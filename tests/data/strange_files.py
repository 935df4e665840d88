"""Strange pictures, each written by one function that says what has to come of it; `strange_folders` has the folders.

`PICTURES` lists them all by name, for tests and fuzzers alike. They import nothing of the project.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 12


@dataclass(frozen=True)
class Expected:
    """Of a picture: `words` of the reason why it is not read, or None where it is; then `pixel`, the color at its
    center to within 1, and `note`, words of what is said about it."""

    words: str | None = None
    pixel: tuple[int, ...] | None = None
    note: str = ""


PICTURES: dict[str, Callable[[Path], Expected]] = {}


def _picture(writer: Callable[[Path], Expected]) -> Callable[[Path], Expected]:
    PICTURES[writer.__name__] = writer
    return writer


def pixels(seed: int = 0, channels: int = 3) -> np.ndarray:
    """(12, 12, channels) random bytes."""
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, channels), dtype=np.uint8)


def plain(path: Path, seed: int = 0) -> None:
    """A sound PNG, whatever its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)).save(path, format="PNG")


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, size: tuple[int, int] = (SIZE, SIZE), depth: int = 8, body: bytes = b"") -> bytes:
    """An RGB PNG of raw parts; `body` are its filtered rows."""
    head = struct.pack(">IIBBBBB", size[1], size[0], depth, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + data


def tiff(entries: list[tuple[int, int, int, int]], body: bytes = b"") -> bytes:
    """A little-endian TIFF with these entries (tag, type, count, value) and `body` from byte 8 on."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory


# --- pictures that are not read


@_picture
def postscript(path: Path) -> Expected:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 24\n%%EndComments\nshowpage\n%%EOF\n")
    return Expected("PostScript is not read")


@_picture
def pdf(path: Path) -> Expected:
    path.write_bytes(b"%PDF-1.7\n")
    return Expected("PDF is not read")


@_picture
def drawing(path: Path) -> Expected:
    path.write_bytes(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>')
    return Expected("SVG is not read")


@_picture
def rare_format(path: Path) -> Expected:
    Image.fromarray(pixels()).save(path, format="ICNS" if path.suffix == ".icns" else "PCX")
    return Expected("its content is none of PNG")


@_picture
def empty_file(path: Path) -> Expected:
    path.write_bytes(b"")
    return Expected("it is empty")


@_picture
def cut_short(path: Path) -> Expected:
    plain(path)
    path.write_bytes(path.read_bytes()[:-60])
    return Expected("cannot be read as a picture")


@_picture
def huge_header(path: Path) -> Expected:
    path.write_bytes(png(size=(100_000, 100_000)))
    return Expected("cannot be read as a picture|more than the")


@_picture
def large_header(path: Path) -> Expected:
    path.write_bytes(png(size=(10_000, 9_000)))
    return Expected("is 10000x9000")


@_picture
def huge_canvas(path: Path) -> Expected:
    Image.fromarray(pixels()).save(path, format="WEBP", lossless=True)
    inner = path.read_bytes()[12:]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (65_000).to_bytes(3, "little") * 2
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(canvas) + len(inner)) + b"WEBP" + canvas + inner)
    return Expected("is 65001x65001")


@_picture
def huge_tile(path: Path) -> Expected:
    side = 1 << 20
    entries = [(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1), (277, 3, 1, 1)]
    entries += [(322, 4, 1, side), (323, 4, 1, side), (324, 4, 1, 8), (325, 4, 1, 4)]
    path.write_bytes(tiff(entries, b"\x80\x00\x20\x50"))
    return Expected("more than the|cannot be read")


@_picture
def many_entries(path: Path) -> Expected:
    """60,000 entries that each hold the same megabyte: 60 GB."""
    body = bytes(1 << 20)
    path.write_bytes(tiff([(1000 + i, 7, len(body), 8) for i in range(60_000)], body))
    return Expected("the same bytes again and again")


@_picture
def much_exif(path: Path) -> Expected:
    Image.fromarray(pixels()).save(path, format="JPEG")
    part = b"\xff\xe1" + struct.pack(">H", 65_000) + b"Exif\0\0" + bytes(64_992)
    data = path.read_bytes()
    path.write_bytes(data[:2] + 40 * part + data[2:])
    return Expected("bytes of EXIF")


@_picture
def much_exif_in_avif(path: Path) -> Expected:
    """2,000 entries that each hold the same 100 kB: 200 MB."""
    body = bytes(100_000)
    exif = tiff([(1000 + i, 7, len(body), 8) for i in range(2000)], body)
    Image.fromarray(pixels()).save(path, format="AVIF", exif=b"Exif\0\0" + exif)
    return Expected("the same bytes again and again")


@_picture
def many_scans(path: Path) -> Expected:
    Image.new("L", (2000, 2000)).save(path, format="JPEG", progressive=True)
    data = path.read_bytes()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:last] + 3000 * data[last:-2] + data[-2:])
    return Expected("goes over its pixels 3,")


@_picture
def text_bomb(path: Path) -> Expected:
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20 << 20)))
    path.write_bytes(png(text, body=(b"\0" + bytes(3 * SIZE)) * SIZE))
    return Expected("unpack to more than 1 MB")


@_picture
def profile_bomb(path: Path) -> Expected:
    profile = chunk(b"iCCP", b"wide\0\0" + zlib.compress(bytes(20 << 20)))
    path.write_bytes(png(profile, body=(b"\0" + bytes(3 * SIZE)) * SIZE))
    return Expected("unpack to more than 1 MB")


@_picture
def several_frames(path: Path) -> Expected:
    frames = [Image.new("RGB", (SIZE, SIZE), color) for color in ("red", "blue")]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])
    return Expected("holds several frames")


@_picture
def several_pages(path: Path) -> Expected:
    pages = [Image.new("RGB", (SIZE, SIZE), color) for color in ("red", "blue")]
    pages[0].save(path, format="TIFF", save_all=True, append_images=pages[1:])
    return Expected("holds several frames")


@_picture
def real_numbers(path: Path) -> Expected:
    Image.fromarray(np.zeros((SIZE, SIZE), np.float32)).save(path, format="TIFF")
    return Expected("floating point")


@_picture
def dark_deep_color(path: Path) -> Expected:
    """12 bits in 16-bit colors, of which Pillow reads the upper 8: nearly black."""
    rows = np.full((SIZE, SIZE * 3), 4000, ">u2")
    path.write_bytes(png(depth=16, body=b"".join(b"\0" + row.tobytes() for row in rows)))
    return Expected("16 bits in each color")


# --- pictures that are read


@_picture
def deep_color(path: Path) -> Expected:
    rows = np.full((SIZE, SIZE * 3), 60_000, ">u2")
    path.write_bytes(png(depth=16, body=b"".join(b"\0" + row.tobytes() for row in rows)))
    return Expected(pixel=(234, 234, 234), note="1 picture with 16 bits in each color")


@_picture
def twelve_bits(path: Path) -> Expected:
    values = np.full((SIZE, SIZE), 2048, np.uint16)
    values[0, 0] = 4095
    Image.fromarray(values).save(path, format="PNG")
    return Expected(pixel=(128,), note="bits=12")


@_picture
def sixteen_bits(path: Path) -> Expected:
    values = np.full((SIZE, SIZE), 257 * 100, np.uint16)
    values[0, 0] = 65535
    Image.fromarray(values).save(path, format="PNG")
    return Expected(pixel=(100,), note="bits=16")


@_picture
def gray_palette(path: Path) -> Expected:
    image = Image.new("P", (SIZE, SIZE), 1)
    image.putpalette([0, 0, 0, 90, 90, 90, 255, 0, 0])
    image.save(path, format="PNG")
    return Expected(pixel=(90,), note="palette of grays")


@_picture
def color_palette(path: Path) -> Expected:
    image = Image.new("P", (SIZE, SIZE), 2)
    image.putpalette([0, 0, 0, 90, 90, 90, 255, 0, 0])
    image.save(path, format="PNG")
    return Expected(pixel=(255, 0, 0), note="a palette, whose colors")


@_picture
def one_bit(path: Path) -> Expected:
    Image.new("1", (SIZE, SIZE), 1).save(path, format="PNG")
    return Expected(pixel=(255,), note="1 bit a pixel")


@_picture
def print_colors(path: Path) -> Expected:
    Image.new("CMYK", (SIZE, SIZE), (0, 255, 255, 0)).save(path, format="TIFF")
    return Expected(pixel=(255, 0, 0), note="CMYK")


@_picture
def wide_gamut(path: Path) -> Expected:
    Image.new("RGB", (SIZE, SIZE), (60, 200, 80)).save(path, format="PNG", icc_profile=profile())
    return Expected(pixel=(0, 201, 67), note="a color profile, converted to sRGB")


@_picture
def wide_gamut_with_alpha(path: Path) -> Expected:
    Image.new("RGBA", (SIZE, SIZE), (60, 200, 80, 255)).save(path, format="PNG", icc_profile=profile())
    return Expected(pixel=(0, 201, 67, 255), note="a color profile, converted to sRGB")


@_picture
def broken_profile(path: Path) -> Expected:
    Image.new("RGB", (SIZE, SIZE), (60, 200, 80)).save(path, format="PNG", icc_profile=profile()[:200])
    return Expected(pixel=(60, 200, 80), note="profile that cannot be read")


@_picture
def srgb_profile(path: Path) -> Expected:
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (SIZE, SIZE), (60, 200, 80)).save(path, format="PNG", icc_profile=srgb)
    return Expected(pixel=(60, 200, 80))


@_picture
def gray_with_profile(path: Path) -> Expected:
    Image.new("L", (SIZE, SIZE), 77).save(path, format="PNG", icc_profile=profile())
    return Expected(pixel=(77,))


@_picture
def broken_exif(path: Path) -> Expected:
    Image.new("RGB", (SIZE, SIZE), (60, 200, 80)).save(path, format="PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    return Expected(pixel=(60, 200, 80))


@_picture
def unknown_name(path: Path) -> Expected:
    plain(path)
    middle = tuple(int(v) for v in pixels()[SIZE // 2, SIZE // 2])
    return Expected(pixel=middle)


def profile(gamma: float = 2.2) -> bytes:
    """A matrix profile with primaries wider than those of sRGB (Adobe RGB, adapted to D50)."""

    def s15(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(s15, values))

    primaries = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + b"\0" * 78
    name += b"\0" * (-len(name) % 4)
    tags = [(b"desc", name), (b"cprt", b"text\0\0\0\0none\0\0\0\0"), (b"wtpt", xyz((0.9642, 1, 0.8249)))]
    tags += [(n, xyz(p)) for n, p in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)]
    tags += [(n, curve) for n in (b"rTRC", b"gTRC", b"bTRC")]
    at, table, data = 132 + 12 * len(tags), b"", b""
    for tag, value in tags:
        table += tag + struct.pack(">II", at + len(data), len(value))
        data += value
    head = struct.pack(">I", at + len(data)) + bytes(4) + struct.pack(">I", 0x02100000) + b"mntrRGB XYZ " + bytes(12)
    head += b"acsp" + bytes(28) + b"".join(map(s15, (0.9642, 1, 0.8249))) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + data
