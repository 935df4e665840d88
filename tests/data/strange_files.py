"""Strange pictures and folders, each written by one function that says what has to come of it.

`PICTURES` and `FOLDERS` list them all by name, for tests and fuzzers alike. They import nothing of the project.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Sorted:
    """Of a folder: `error`, words of the error that stops everything; or else the number of `records`, those of each
    split (before any are set aside), `classes`, `problems` (words by record), and words among the `notes`."""

    error: str | None = None
    records: int = 0
    splits: dict[str, int] | None = None
    classes: tuple[str, ...] = ()
    captions: dict[str, str] | None = None
    problems: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


PICTURES: dict[str, Callable[[Path], Expected]] = {}
FOLDERS: dict[str, Callable[[Path], Sorted]] = {}


def _picture(writer: Callable[[Path], Expected]) -> Callable[[Path], Expected]:
    PICTURES[writer.__name__] = writer
    return writer


def _folder(writer: Callable[[Path], Sorted]) -> Callable[[Path], Sorted]:
    FOLDERS[writer.__name__] = writer
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


# --- folders


def _plain(root: Path, *names: str) -> None:
    for name in names:
        plain(root / name, zlib.crc32(name.encode()))


def _numbered(root: Path, n: int, folder: str = "") -> None:
    _plain(root, *(f"{folder}{i:02}.png" for i in range(n)))


@_folder
def comma_in_caption(root: Path) -> Sorted:
    _numbered(root, 4)
    lines = ["file_name,text", "00.png,a red circle, a blue square", '01.png,"a red circle, a blue square"', "02.png"]
    (root / "metadata.csv").write_text("\n".join([*lines, "03.png,plain"]))
    return Sorted(
        records=2,
        captions={"01.png": "a red circle, a blue square", "03.png": "plain"},
        problems={
            "00.png": "record 1 has 3 fields, the header has 2: put the text into quotes",
            "02.png": "record 3 has 1 field, the header has 2",
        },
    )


@_folder
def column_twice(root: Path) -> Sorted:
    _numbered(root, 2)
    (root / "metadata.csv").write_text("file_name,text,text\n00.png,a,b\n01.png,a,b\n")
    return Sorted(error="of which text is named twice")


@_folder
def key_twice(root: Path) -> Sorted:
    _numbered(root, 1)
    (root / "metadata.jsonl").write_text('{"file_name": "00.png", "text": "a", "text": "b"}\n')
    return Sorted(error="record 1 .*the key 'text' stands there twice")


@_folder
def captions_of_no_text(root: Path) -> Sorted:
    _numbered(root, 5)
    texts = [5, None, True, ["a", 3], "good"]
    rows = [json.dumps({"file_name": f"{i:02}.png", "text": text}) for i, text in enumerate(texts)]
    (root / "metadata.jsonl").write_text("\n".join(rows))
    bad = {f"{i:02}.png": "expected a text, got" for i in range(4)}
    return Sorted(records=1, captions={"04.png": "good"}, problems=bad)


@_folder
def caption_not_a_number(root: Path) -> Sorted:
    _numbered(root, 1)
    (root / "metadata.jsonl").write_text('{"file_name": "00.png", "text": NaN}\n')
    return Sorted(error="record 1 .*cannot be read")


@_folder
def metadata_in_latin_1(root: Path) -> Sorted:
    _numbered(root, 1)
    (root / "metadata.csv").write_bytes("file_name,text\n00.png,café\n".encode("latin-1"))
    return Sorted(error=r"is not UTF-8: byte 0xe9 at position 25 \(line 2\)")


@_folder
def metadata_in_utf_16(root: Path) -> Sorted:
    _numbered(root, 1)
    (root / "metadata.csv").write_bytes("file_name,text\n00.png,a\n".encode("utf-16"))
    return Sorted(error="is UTF-16, expected UTF-8")


@_folder
def quote_left_open(root: Path) -> Sorted:
    _numbered(root, 2)
    (root / "metadata.csv").write_text('file_name,text\n00.png,"a\n01.png,b\n')
    return Sorted(error="from line 2 on, is no .csv")


@_folder
def metadata_twice(root: Path) -> Sorted:
    _numbered(root, 1)
    (root / "metadata.csv").write_text("file_name,text\n00.png,a\n")
    (root / "metadata.jsonl").write_text('{"file_name": "00.png", "text": "b"}\n')
    return Sorted(error="both describe the pictures")


@_folder
def names_that_lead_out(root: Path) -> Sorted:
    _numbered(root, 1)
    plain(root.parent / "outside.png")
    lines = ["file_name,text", "00.png,a", "../outside.png,b", f"{root.parent}/outside.png,c"]
    (root / "metadata.csv").write_text("\n".join(lines))
    outside = {"../outside.png": "leads out of the folder", f"{root.parent}/outside.png": "leads out of the folder"}
    return Sorted(records=1, captions={"00.png": "a"}, problems=outside)


@_folder
def labels_and_splits_in_columns(root: Path) -> Sorted:
    _numbered(root, 6)
    rows = [("train", "cat"), ("Training", "dog"), ("test", "cat"), ("holdout", "dog"), ("nowhere", "cat"), ("dev", "")]
    lines = ["file_name,split,label,width", *(f"{i:02}.png,{s},{c},12" for i, (s, c) in enumerate(rows))]
    (root / "metadata.csv").write_text("\n".join(lines))
    return Sorted(
        records=5,
        splits={"train": 2, "validation": 1, "test": 2},
        classes=("cat", "dog"),
        problems={"04.png": "its split is 'nowhere'"},
        notes=("columns that are not read: width",),
    )


@_folder
def some_without_a_split(root: Path) -> Sorted:
    _numbered(root, 2)
    rows = [{"file_name": "00.png", "text": "a", "split": "test"}, {"file_name": "01.png", "text": "b"}]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Sorted(records=1, splits={"test": 1}, problems={"01.png": "has no split, and other records have one"})


@_folder
def captions_beside(root: Path) -> Sorted:
    _numbered(root, 5)
    (root / "00.txt").write_text("a red\ncircle\n")
    (root / "01.caption").write_text("\ufeffa blue one", encoding="utf-8")
    (root / "02.json").write_text('{"caption": "a green one", "score": 3}')
    (root / "03.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    (root / "readme.txt").write_text("not a caption")
    found = {"00.png": "a red circle", "01.png": "a blue one", "02.png": "a green one", "03.png": "", "04.png": ""}
    notes = ("without a caption beside them: 2 (03.png, 04.png)", "texts of numbers alone", "keys score are not read")
    return Sorted(records=5, captions=found, notes=notes)


@_folder
def bad_captions_beside(root: Path) -> Sorted:
    _numbered(root, 4)
    (root / "00.txt").write_text("one")
    (root / "00.caption").write_text("two")
    (root / "01.txt").write_bytes(b"caf\xe9")
    (root / "02.json").write_text('{"text": 5}')
    (root / "03.txt").write_text("good")
    problems = {"00.png": "has captions in", "01.png": "is not UTF-8: byte 0xe9", "02.png": "expected a text, got 5"}
    return Sorted(records=1, captions={"03.png": "good"}, problems=problems)


@_folder
def stray_folders(root: Path) -> Sorted:
    for split, n in (("train", 6), ("test", 2)):
        _numbered(root, n, f"{split}/cat/")
        _numbered(root, n, f"{split}/dog/")
    (root / "__MACOSX/train/cat").mkdir(parents=True)
    (root / "__MACOSX/train/cat/._00.png").write_bytes(b"\0\5\x16\7")
    (root / "notes").mkdir()
    (root / "notes/readme.txt").write_text("not a picture")
    (root / "empty").mkdir()
    note = "folders without pictures: __MACOSX, empty, notes"
    return Sorted(records=16, splits={"train": 12, "test": 4}, classes=("cat", "dog"), notes=(note,))


@_folder
def pictures_beside_splits(root: Path) -> Sorted:
    _plain(root, "train/a.png", "test/b.png", "masks/c.png")
    return Sorted(error="the folder masks lies beside")


@_folder
def splits_by_other_names(root: Path) -> Sorted:
    _numbered(root, 3, "Training/")
    _numbered(root, 2, "DEV/")
    _numbered(root, 1, "hold-out/")
    _numbered(root, 2, "test_set/")
    return Sorted(records=8, splits={"train": 3, "validation": 2, "test": 3}, notes=("Training as train",))


@_folder
def splits_inside_of_classes(root: Path) -> Sorted:
    _plain(root, "cat/train/a.png", "cat/test/b.png", "dog/train/c.png")
    return Sorted(error="the folder test inside of cat has the name of a split")


@_folder
def class_named_train(root: Path) -> Sorted:
    _plain(root, "train/train/a.png", "train/car/b.png", "train/plane/c.png")
    return Sorted(records=3, splits={"train": 3}, classes=("car", "plane", "train"))


@_folder
def link_to_a_parent(root: Path) -> Sorted:
    _numbered(root, 3, "cat/")
    _numbered(root, 3, "dog/")
    os.symlink("..", root / "cat/up")
    os.symlink(".", root / "dog/self")
    os.symlink("../cat", root / "dog/other")
    os.symlink("../..", root / "dog/out")
    names = ("cat/up", "dog/self", "dog/other", "dog/out")
    return Sorted(records=6, classes=("cat", "dog"), problems=dict.fromkeys(names, "leads back to"))


@_folder
def held_out_by_link(root: Path) -> Sorted:
    _numbered(root, 3, "train/")
    os.symlink("train", root / "test")
    return Sorted(records=3, splits={"train": 3}, problems={"test": "leads back to train"})


@_folder
def links_and_pipes(root: Path) -> Sorted:
    _numbered(root, 3)
    plain(root.parent / "elsewhere" / "one.png", 99)
    os.symlink("nowhere", root / "dangling.png")
    os.symlink("circle.png", root / "circle.png")
    os.symlink("00.png", root / "twice.png")
    os.symlink("/dev/zero", root / "device.png")
    os.symlink(root.parent / "elsewhere/one.png", root / "outside.png")
    os.mkfifo(root / "pipe.png")
    problems = {"dangling.png": "is a link to what is not there", "circle.png": "is a link that cannot be followed"}
    problems |= {"twice.png": "leads back to 00.png", "device.png": "a device", "pipe.png": "is no file but a pipe"}
    return Sorted(records=4, problems=problems, notes=("lead out of the folder and are read: outside.png",))


@_folder
def names_without_suffix(root: Path) -> Sorted:
    _plain(root, "00.png", "img1", "photo.txt", "a.b.c")
    (root / "LICENSE").write_text("none")
    (root / ".hidden.png").write_bytes(b"")
    (root / "data.pdf").write_bytes(b"%PDF")
    return Sorted(records=4)


@_folder
def class_names_of_bytes(root: Path) -> Sorted:
    for name in (b"plain", b"caf\xe9", b"esc\x1b[31m", b"line\nbreak"):
        os.makedirs(os.fsencode(root) + b"/" + name)
        for i in range(3):
            plain(root / "one.png", zlib.crc32(name) + i)
            os.rename(os.fsencode(root / "one.png"), os.fsencode(root) + b"/" + name + b"/%d.png" % i)
    with open(os.fsencode(root) + b"/caf\xe9/broken\xff.png", "wb") as file:
        file.write(b"no picture")
    classes = ("caf\\xe9", "esc\\x1b[31m", "line\\nbreak", "plain")
    return Sorted(records=12, classes=classes, problems={"caf\\xe9/broken\\xff.png": "cannot be read as a picture"})


@_folder
def twelve_bits_of_sixteen(root: Path) -> Sorted:
    root.mkdir(exist_ok=True)
    for i in range(4):
        values = np.full((SIZE, SIZE), 1000 * i + 500, np.uint16)
        Image.fromarray(values).save(root / f"{i}.png")
    return Sorted(
        records=4, notes=("4 pictures with more than 8 bits a pixel: values 0 to 4095 become 0 to 255 (bits=12)",)
    )


@_folder
def metadata_that_nothing_reads(root: Path) -> Sorted:
    _plain(root, "cat/a.png", "cat/b.png")
    (root / "cat/metadata.csv").write_text("file_name,text\na.png,x\n")
    (root / "metadata.parquet").write_bytes(b"PAR1")
    problems = {"cat/metadata.csv": "belongs at the top", "metadata.parquet": "write metadata.csv"}
    return Sorted(records=2, classes=("cat",), problems=problems)
