"""Strange folders, each written by one function that says what has to come of it; `FOLDERS` lists them by name."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.strange_files import SIZE, plain


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


FOLDERS: dict[str, Callable[[Path], Sorted]] = {}


def _folder(writer: Callable[[Path], Sorted]) -> Callable[[Path], Sorted]:
    FOLDERS[writer.__name__] = writer
    return writer


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
