"""Folders, pictures, arrays and metadata that are put together at random and damaged, and what is read from them.

Everything must be read, listed with a reason, or refused in words: totals add up, records are finite and of one shape.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_artifacts import snapshot
from fuzz_child import run_in_child
from fuzz_findings import Item, judge
from fuzz_json import TEXTS, damage_bytes, damage_json, strange
from fuzz_models import Good
from fuzz_pictures import damage_picture, damage_recipe, picture
from fuzz_records import archive, table, texts, unpacked
from PIL import Image
from strange_arrays import write_random

from morphogen import data
from morphogen.cli.main import run
from morphogen.core.errors import MorphogenError

_NAMES = (
    *("train", "test", "val", "valid", "holdout", "Train", "dev", "a", "b", "cat", "dog", "0", "1", "10", ".hidden"),
    *("日本", "\u202eabc", "\x1b[31mred", "a\nb", "a b", "-n", "=x", "a,b", os.fsdecode(b"caf\xe9"), "n" * 200),
)
_BESIDE = ("metadata.csv", "metadata.jsonl", "labels.csv", "README.md", "Thumbs.db", ".DS_Store", "captions.txt")
_COLUMNS = ("text", "caption", "label", "class", "split", "id", "text2", "", "file_name", "\ufefffile_name")
_OPTIONS = (
    *("", "", ":skip_bad", ":skip_bad,size=8,resize=crop", ":skip_bad,size=16,resize=pad"),
    *(":channels=gray", ":binary", ":x=1"),
)
_ARRAYS = ("x", "images", "y", "labels", "captions", "class_names", "split", "train_x", "test_x", "arr_0", "z")
_TYPES = ("u1", "u1", "u1", "f4", "f8", "f2", "i8", "?", "U5", "c8", "M8[s]", "u8", ">i4", "not finite")
_SHAPES = ((), (2,), (8, 8), (8, 8), (8, 8, 1), (8, 8, 3), (3, 8, 8), (0,), (1, 1, 1, 1, 1), (8, 8, 4))

_LARGE = 64 * 64

Made = tuple[list[list[str]], str]  # command lines, and the source to load


def try_files(number: int, seed: int, models: Mapping[str, Good], scratch: Path) -> Item:
    """Make strange data `number` of this seed below `scratch`, read them, and say what was found."""
    random_ = random.Random(f"files/{seed}/{number}")
    item = Item(number, seed)
    work, out = scratch / "item" / "work", scratch / "item" / "out"
    shutil.rmtree(scratch / "item", ignore_errors=True)
    work.mkdir(parents=True)
    out.mkdir()
    kind = random_.choice((*["folder"] * 5, *["arrays"] * 3, *["table"] * 3, "texts", "archive", "picture", "recipe"))
    item.made.append(kind)
    lines, source = _MAKERS[kind](work, models, random_, item.made)

    def look() -> list[Any]:
        os.chdir(work)
        statuses = [run([*line, "--out", str(out / _OUT[line[0]])] if line[0] in _OUT else line) for line in lines]
        said = _read(work, source) if source else unpacked(work, models, out) if kind == "archive" else ""
        return [*statuses, said]

    before = snapshot(work)
    outcome = run_in_child(look, [out, Path(os.environ["MORPHOGEN_CACHE"])], scratch)
    *statuses, said = outcome.result or [""]
    item.statuses = statuses or outcome.end
    judge(item, outcome, statuses)
    if before != snapshot(work):
        item.find("code run, or a file changed", "reading changed the data")
    if said:
        item.find("wrong in silence", said)
    return item


def _read(work: Path, source: str) -> str:
    """Load the data; what is wrong with them, or nothing."""
    try:
        found = data.load(source, strict=False)
    except MorphogenError:
        return ""
    records = 0
    for name, split in found.splits.items():
        records += len(split)
        x = split.batch(slice(0, len(split))).x if len(split) else torch.zeros(0, *found.spec.shape)
        if tuple(x.shape[1:]) != tuple(found.spec.shape):
            return f"{name}: records of shape {tuple(x.shape[1:])}, described as {found.spec.shape}"
        if not torch.isfinite(x).all() and found.spec.kind != "columns":  # of which some are missing
            return f"{name}: records that are not finite"
        known = len(found.spec.classes)
        if split.labels is not None and not ((split.labels >= -1) & (split.labels < known)).all():
            return f"{name}: labels from {split.labels.min()} to {split.labels.max()} of {known} classes"
        if split.captions is not None and len(split.captions) != len(split):
            return f"{name}: {len(split.captions)} captions of {len(split)} records"
    if found.files is None:
        return ""
    there = _count(work / "data")
    if found.files.seen < there:
        return f"{there} files are there, and {found.files} was said"
    if found.files.records != records:
        return f"{records} records were read, and {found.files} was said"
    return ""


def _count(root: Path) -> int:
    """Regular files below, each once, and none of hidden folders."""
    seen = set()
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            about = os.lstat(os.path.join(folder, name))
            if stat.S_ISREG(about.st_mode):
                seen.add(about.st_ino)
    return len(seen)


def _folder(work: Path, models: Mapping[str, Good], random_: random.Random, made: list[str]) -> Made:
    """Pictures in a tree of folders, some of them damaged, with links, pipes and metadata between them."""
    root = work / "data"
    root.mkdir()
    folders = [root]
    for _ in range(random_.choice((0, 0, 1, 2, 3, 5))):
        folder = random_.choice(folders[:3]) / random_.choice(_NAMES)
        if len(os.fsencode(folder)) < 900 and not folder.exists():
            folder.mkdir()
            folders.append(folder)
    usual = random_.choice(("a.png", "a.png", "gray.png", "a.jpg", ""))
    size = random_.choice(((16, 16), (16, 16), (8, 12), None))
    broken = random_.choice((0.0, 0.1, 0.1, 0.5))
    names: list[str] = []
    for folder in folders:
        for i in range(random_.choice((0, 1, 3, 6, 12))):
            suffix, content = picture(random_, "" if random_.random() < 0.15 else usual, size)
            if random_.random() < broken:
                content, said = damage_picture(content, random_)
                made.append(f"{i}{suffix}: {said}")
            name = random_.choice((str(i),) * 9 + TEXTS[20:24])[:60].replace("/", "_").replace("\0", "_")
            suffix = random_.choice((suffix,) * 12 + ("", ".PNG", ".jpg", ".txt", ".png.txt"))
            file = folder / _safe(name + suffix)
            if not file.exists():
                file.write_bytes(content)
                names.append(os.fsencode(file.relative_to(root)).decode("utf-8", "surrogateescape"))
            if random_.random() < 0.08:
                file.with_suffix(".txt").write_bytes(_caption(random_))
    for _ in range(random_.choice((0, 0, 1, 1, 2))):
        where = random_.choice(folders)
        made.append(random_.choice(_STRANGERS)(where, names, random_))
    if random_.random() < 0.5:
        made.append(_metadata(random_.choice(folders[:2]), names, random_))
    source = "data" + random_.choice(_OPTIONS)
    made.append(source)
    return [["data", "inspect", source, *(["--json"] if random_.random() < 0.5 else [])]], source


def _safe(name: str) -> str:
    return name if os.fsencode(name) not in (b"", b".", b"..") else "x"


def _caption(random_: random.Random) -> bytes:
    text = random_.choice(("a red circle", *TEXTS[:20])).encode("utf-8", "surrogatepass")
    return text if random_.random() < 0.7 else damage_bytes(text, random_)[0]


def _pipe(where: Path, names: list[str], random_: random.Random) -> str:
    path = where / random_.choice(("pipe.png", "metadata.csv", "0.txt"))
    if not path.exists():
        os.mkfifo(path)
    return "a pipe"


def _link(where: Path, names: list[str], random_: random.Random) -> str:
    target = random_.choice(("..", ".", "nowhere", "/etc/passwd", "/dev/zero", "0.png", "../..", "/proc/self/mem"))
    path = where / random_.choice(("link.png", "link", "metadata.jsonl"))
    if not path.exists() and not path.is_symlink():
        path.symlink_to(target)
    return f"a link to {target}"


def _folder_like_picture(where: Path, names: list[str], random_: random.Random) -> str:
    (where / "folder.png").mkdir(exist_ok=True)
    return "a folder that is called like a picture"


def _beside(where: Path, names: list[str], random_: random.Random) -> str:
    path = where / random_.choice(_BESIDE)
    if not path.exists():
        path.write_bytes(
            random_.choice((b"", b"hello\n", random_.randbytes(100), b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 5000))
        )
    return f"{path.name} beside"


def _sparse(where: Path, names: list[str], random_: random.Random) -> str:
    path = where / random_.choice(("large.png", "metadata.csv", "large.txt"))
    if not path.exists():
        path.touch()
        os.truncate(path, 1 << 40)
    return "a file of a terabyte that is empty"


_STRANGERS: tuple[Callable[[Path, list[str], random.Random], str], ...] = (
    _pipe,
    _link,
    _link,
    _folder_like_picture,
    _beside,
    _beside,
    _sparse,
)


def _metadata(where: Path, names: list[str], random_: random.Random) -> str:
    """A table of captions, classes and splits, mostly of files that are there."""
    path = where / random_.choice(("metadata.csv", "metadata.csv", "metadata.jsonl", "metadata.tsv"))
    if path.exists() or path.is_symlink():
        return "no metadata"
    columns = ["file_name", *random_.sample(_COLUMNS, random_.choice((1, 1, 2, 3)))]
    rows = []
    for name in names + random_.sample(names, min(len(names), random_.choice((0, 0, 2)))):
        row: dict[str, Any] = {column: _cell(column, random_) for column in columns}
        row["file_name"] = (
            name if random_.random() < 0.95 else random_.choice(("../x.png", "/etc/passwd", "", "none.png"))
        )
        rows.append(row)
    if path.suffix == ".jsonl":
        text = "\n".join(json.dumps(row, ensure_ascii=random_.random() < 0.5) for row in rows)
        raw = text.encode("utf-8", "surrogatepass")
        if random_.random() < 0.2:
            lines = raw.split(b"\n")
            at = random_.randrange(len(lines))
            lines[at] = damage_json(lines[at], random_)[0]
            raw = b"\n".join(lines)
    else:
        out = io.StringIO(newline="")
        delimiter = "\t" if path.suffix == ".tsv" else random_.choice((",", ",", ",", ";"))
        how = random_.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        writer = csv.DictWriter(out, columns, delimiter=delimiter, quoting=how)
        writer.writeheader()
        writer.writerows(rows)
        raw = out.getvalue().encode(random_.choice(("utf-8", "utf-8", "utf-8-sig")), "surrogatepass")
    said = "whole"
    if random_.random() < 0.3:
        raw, said = damage_bytes(raw, random_)
    path.write_bytes(raw)
    return f"{path.name} with {columns}, {said}"


def _cell(column: str, random_: random.Random) -> Any:
    if random_.random() < 0.05:
        value = strange(random_)
        return value if not isinstance(value, str) else value[:3000]
    if column == "split":
        return random_.choice(("train", "train", "test", "validation", "holdout", ""))
    if column in ("label", "class"):
        return random_.choice(("cat", "dog", "0", "1", ""))
    return random_.choice(("a red circle", "two blue squares, one above", "", 'a "quoted" word', "déjà vu"))


def _arrays(work: Path, models: Mapping[str, Good], random_: random.Random, made: list[str]) -> Made:
    """A damaged .npz file, or one of strange arrays."""
    if random_.random() < 0.5:
        seed = random_.randrange(10**9)
        write_random(work / "data.npz", seed)
        made.append(f"strange_arrays.write_random({seed})")
    else:
        arrays = {}
        for _ in range(random_.choice((1, 2, 3, 4))):
            name = random_.choice(_ARRAYS)
            arrays[name] = _array(random_)
            made.append(f"{name}: {arrays[name].dtype} {arrays[name].shape}")
        np.savez(work / "data.npz", **arrays)
        if random_.random() < 0.3:
            content, said = damage_bytes((work / "data.npz").read_bytes(), random_)
            (work / "data.npz").write_bytes(content)
            made.append(said)
    source = "data.npz" + random_.choice(_OPTIONS)
    lines = [["data", "inspect", source]]
    if random_.random() < 0.1 and source == "data.npz":
        lines = [["evaluate-samples", source, "--data", "digits", "--n", "10"]]
    return lines, source


def _array(random_: random.Random) -> np.ndarray:
    shape = (random_.choice((0, 1, 12, 12, 12, 12)), *random_.choice(_SHAPES))
    values = np.random.default_rng(random_.randrange(1000)).random(shape)
    kind = random_.choice(_TYPES)
    if kind == "not finite":
        values.flat[: 1 + values.size // 7] = random_.choice((np.nan, np.inf, -1e300, 1e39))
        return values
    if kind[0] == "U":
        return np.array([random_.choice(("a", "b", "", "\x1b[", "é")) for _ in range(shape[0])], dtype=kind)
    with np.errstate(over="ignore", invalid="ignore"):
        return (values * random_.choice((1, 2, 255, 255, 70000, -3))).astype(kind)


def _picture(work: Path, models: Mapping[str, Good], random_: random.Random, made: list[str]) -> Made:
    """One picture, damaged, to be restored or edited."""
    suffix, content = picture(random_, size=random_.choice(((16, 16), (16, 16), (8, 12), (1, 1), (1, 20))))
    content, said = damage_picture(content, random_)
    made.append(f"{suffix}: {said}")
    (work / f"given{suffix}").write_bytes(content)
    if _size(content) > _LARGE:  # to restore so many pixels is honest work for minutes
        (work / "data").mkdir()
        (work / f"given{suffix}").rename(work / f"data/given{suffix}")
        return [["data", "inspect", "data"]], ""
    model = str(models["diffusion"].path)
    lines = {
        "restore": ["restore", model, f"given{suffix}", "--degradation", "gray", "--steps", "2"],
        "edit": ["edit", model, f"given{suffix}", "--strength", "0.5", "--steps", "2"],
        "upscale": ["upscale", model, f"given{suffix}", "--steps", "2"],
    }
    return [lines[random_.choice(sorted(lines))]], ""


def _size(content: bytes) -> int:
    """The number of pixels that a picture says it has."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]) as opened:
            return opened.width * opened.height
    except Exception:
        return 0


def _recipe(work: Path, models: Mapping[str, Good], random_: random.Random, made: list[str]) -> Made:
    """A picture that `sample` drew, with another recipe in it, to be drawn again."""
    name = random_.choice(("vae", "gan"))
    drawn = Path(os.environ["MORPHOGEN_CACHE"]).parent / "warm" / f"{name}.png"
    content, said = damage_recipe(drawn.read_bytes(), random_)
    made.append(f"{name}: {said}")
    (work / "given.png").write_bytes(content)
    return [["recall", "given.png", "--model", str(models[name].path)]], ""


_MAKERS = {"folder": _folder, "arrays": _arrays, "picture": _picture, "recipe": _recipe}
_MAKERS |= {"table": table, "texts": texts, "archive": archive}
_OUT = {"restore": "x.png", "edit": "x.png", "upscale": "x.png", "recall": "x.png", "evaluate-samples": "x.json"}
_OUT |= {"impute": "x.csv", "train": "x"}
