"""Good pictures of many formats and modes, and damage to their bytes, with checksums that fit again or do not."""

from __future__ import annotations

import functools
import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from fuzz_json import NUMBERS, TEXTS, damage_bytes, damage_json
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

_SHAPES = ((16, 16), (16, 16), (16, 16), (16, 16), (17, 9), (1, 1), (1, 40), (64, 64))


def _png(mode: str, **how: Any) -> Callable[[Image.Image], bytes]:
    return lambda picture: _saved(picture.convert(mode), "PNG", **how)


def _saved(picture: Image.Image, format_: str, **how: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format_, **how)
    return out.getvalue()


def _sixteen(picture: Image.Image, format_: str = "PNG") -> bytes:
    values = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    return _saved(Image.fromarray(values), format_)


def _frames(picture: Image.Image, format_: str) -> bytes:
    return _saved(picture, format_, save_all=True, append_images=[picture.rotate(90), picture.rotate(180)])


def _recipe(picture: Image.Image) -> bytes:
    info = PngInfo()
    info.add_text("morphogen", json.dumps({"verb": "sample", "n": 1, "seed": 0, "model": "models/vae"}))
    return _saved(picture, "PNG", pnginfo=info)


_FORMATS: dict[str, Callable[[Image.Image], bytes]] = {
    "a.png": _png("RGB"),
    "gray.png": _png("L"),
    "alpha.png": _png("RGBA"),
    "graya.png": _png("LA"),
    "palette.png": _png("P"),
    "bit.png": _png("1"),
    "deep.png": _sixteen,
    "profile.png": _png("RGB", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    "recipe.png": _recipe,
    "a.jpg": lambda p: _saved(p.convert("RGB"), "JPEG"),
    "progressive.jpeg": lambda p: _saved(p.convert("RGB"), "JPEG", progressive=True),
    "print.jpg": lambda p: _saved(p.convert("CMYK"), "JPEG"),
    "turned.jpg": lambda p: _saved(p.convert("RGB"), "JPEG", exif=_turned()),
    "a.webp": lambda p: _saved(p.convert("RGB"), "WEBP", lossless=True),
    "a.gif": lambda p: _saved(p.convert("P"), "GIF"),
    "film.gif": lambda p: _frames(p.convert("P"), "GIF"),
    "a.bmp": lambda p: _saved(p.convert("RGB"), "BMP"),
    "a.tif": lambda p: _saved(p.convert("RGB"), "TIFF", compression="tiff_lzw"),
    "pages.tiff": lambda p: _frames(p.convert("RGB"), "TIFF"),
    "deep.tif": lambda p: _sixteen(p, "TIFF"),
    "real.tif": lambda p: _saved(p.convert("F"), "TIFF"),
    "a.ppm": lambda p: _saved(p.convert("RGB"), "PPM"),
    "a.avif": lambda p: _saved(p.convert("RGB"), "AVIF"),
    "a.jp2": lambda p: _saved(p.convert("RGB"), "JPEG2000"),
    "icon.ico": lambda p: _saved(p.convert("RGB"), "ICO"),
    "page.eps": lambda p: _saved(p.convert("RGB"), "EPS"),
    "page.pdf": lambda p: _saved(p.convert("RGB"), "PDF"),
    "a.tga": lambda p: _saved(p.convert("RGB"), "TGA"),
}


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


@functools.lru_cache(maxsize=512)
def _good(kind: str, shape: tuple[int, int], number: int) -> bytes:
    values = np.random.default_rng(number).integers(0, 256, (*shape, 3), dtype=np.uint8)
    try:
        return _FORMATS[kind](Image.fromarray(values))
    except (OSError, KeyError, ValueError):  # this Pillow lacks the format
        return _FORMATS["a.png"](Image.fromarray(values))


def picture(random_: random.Random, kind: str = "", size: tuple[int, int] | None = None) -> tuple[str, bytes]:
    """A good picture, as suffix and bytes."""
    kind = kind or random_.choice(tuple(_FORMATS))
    data = _good(kind, size or random_.choice(_SHAPES), random_.randrange(12))
    return "." + kind.rpartition(".")[2], data


def damage_picture(data: bytes, random_: random.Random) -> tuple[bytes, str]:
    """The bytes changed in one to three ways, and what was done."""
    done = []
    for _ in range(random_.choice((1, 1, 2, 3))):
        if data.startswith(b"\x89PNG") and random_.random() < 0.6:
            data, said = _damage_png(data, random_)
        elif random_.random() < 0.3:
            data, said = _numbers(data, random_)
        else:
            data, said = damage_bytes(data, random_)
        done.append(said)
    return data, "; ".join(done)


def _numbers(data: bytes, random_: random.Random) -> tuple[bytes, str]:
    """A number near the beginning, where the sizes are, made extreme."""
    at = random_.randrange(min(len(data), 80) or 1)
    value = random_.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, 30000))
    packed = struct.pack(random_.choice(("<I", ">I", "<H", ">H")), value & 0xFFFF) if value <= 0xFFFF else b""
    packed = packed or struct.pack(random_.choice(("<I", ">I")), value)
    return data[:at] + packed + data[at + len(packed) :], f"{value} at {at}"


def _damage_png(data: bytes, random_: random.Random) -> tuple[bytes, str]:
    """Change, repeat, remove or add a chunk; its checksum fits, mostly."""
    chunks = _chunks(data)
    if not chunks:
        return damage_bytes(data, random_)
    at = random_.randrange(len(chunks))
    name, body = chunks[at]
    kind = random_.choice(("body", "header", "repeat", "remove", "swap", "text", "bomb", "profile", "recipe", "rename"))
    if kind == "body":
        chunks[at] = name, damage_bytes(body, random_)[0]
    elif kind == "header":
        fields = [*struct.unpack(">IIBBBBB", chunks[0][1][:13])] if len(chunks[0][1]) >= 13 else [1, 1, 8, 2, 0, 0, 0]
        place = random_.randrange(7)
        fields[place] = random_.choice((0, 1, 2, 3, 4, 6, 8, 16, 255, *((20_000, 2**31 - 1) if place < 2 else ())))
        chunks[0] = b"IHDR", struct.pack(">IIBBBBB", *fields)
    elif kind == "repeat":
        chunks[at:at] = [(name, body)] * random_.choice((1, 2, 2000))
    elif kind == "remove":
        del chunks[at]
    elif kind == "swap":
        other = random_.randrange(len(chunks))
        chunks[at], chunks[other] = chunks[other], chunks[at]
    elif kind == "text":
        text = random_.choice(TEXTS).encode("utf-8", "surrogatepass")
        chunks.insert(1, (random_.choice((b"tEXt", b"iTXt")), b"morphogen\0" + text))
    elif kind == "bomb":
        packed = zlib.compress(b"a" * 30_000_000)
        chunks.insert(1, (b"zTXt", b"morphogen\0\0" + packed))
    elif kind == "profile":
        packed = zlib.compress(random_.choice((b"", random_.randbytes(200), b"\0" * 5_000_000)))
        chunks.insert(1, (b"iCCP", b"x\0\0" + packed))
    elif kind == "recipe":
        recipe = {"verb": "sample", "model": "models/vae", "n": 4, "seed": 0, "fingerprint": "0" * 64, "exact": False}
        text, _ = damage_json(json.dumps(recipe).encode(), random_)
        chunks.insert(1, (b"tEXt", b"morphogen\0" + text))
    else:
        chunks[at] = random_.choice((b"abcd", b"IDAT", b"PLTE", b"tRNS", b"acTL", b"eXIf")), body
    return _joined(chunks, random_.random() < 0.9), f"PNG {name!r}: {kind}"


def damage_recipe(data: bytes, random_: random.Random) -> tuple[bytes, str]:
    """A PNG that `sample` wrote, with the recipe in it changed."""
    chunks = _chunks(data)
    for at, (name, body) in enumerate(chunks):
        if name in (b"tEXt", b"iTXt") and body.startswith(b"morphogen\0"):
            key, zero, text = body.partition(b"\0")
            if random_.random() < 0.7:
                recipe = json.loads(text.lstrip(b"\0"))
                field = random_.choice(sorted(recipe))
                recipe[field] = random_.choice((*NUMBERS[:22], *TEXTS[:30], None, True, [], {}, [1, 2]))
                changed, said = json.dumps(recipe).encode(), f"recipe: {field}={recipe[field]!r:.60}"
            else:
                changed, said = damage_json(text, random_)
            chunks[at] = b"tEXt", key + zero + changed
            return _joined(chunks, True), said
    return data, "no recipe"


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 12 <= len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _joined(chunks: list[tuple[bytes, bytes]], right: bool) -> bytes:
    out = [b"\x89PNG\r\n\x1a\n"]
    for name, body in chunks:
        checksum = zlib.crc32(name + body) if right else 0
        out.append(struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum))
    return b"".join(out)
