"""A folder of pictures: flat, one subfolder a class, or the Hugging Face image-folder convention
(`metadata.csv` or `metadata.jsonl` with the columns file_name and text, a list of texts in the latter for several
captions of one picture). Subfolders named train,
validation and test are splits, each of which may be any of these."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from morphogen.core.errors import DataError
from morphogen.data.options import OwnSplits
from morphogen.data.pictures import Opener, collect
from morphogen.data.raw import Raw
from morphogen.data.records import Problem
from morphogen.data.split import SPLIT_NAMES

_METADATA = ("metadata.csv", "metadata.jsonl")
# Files that people keep beside pictures. Anything else is taken for a record, and so is never skipped silently.
_BESIDE = {".txt", ".md", ".csv", ".jsonl", ".json", ".html", ".pdf", ".yaml", ".yml", ".ini", ".db", ""}


@dataclass(frozen=True)
class _File:
    path: Path
    split: str | None = None
    label: str | None = None
    texts: tuple[str, ...] = ()


def read(root: Path, options: OwnSplits) -> Raw:
    """All pictures under `root` in the order of their names."""
    subfolders = _subfolders(root)
    problems: list[Problem] = []
    if subfolders and all(f.name.lower() in SPLIT_NAMES for f in subfolders) and not _metadata(root):
        if _files(root):
            raise DataError(f"{root}: {_files(root)[0].name} lies beside the splits; move it into one of them.")
        files = [f for s in subfolders for f in _one(s, SPLIT_NAMES[s.name.lower()], root, problems)]
    else:
        files = _one(root, None, root, problems)
    if not files:
        raise DataError(f"{root}: there is no picture in this folder." + "".join(f"\n  {p}" for p in problems))
    names = [f.path.relative_to(root).as_posix() for f in files]
    stored, kept, unreadable = collect(names, [_opener(f.path) for f in files], options)
    files = [files[i] for i in kept]
    classes = sorted({f.label for f in files if f.label is not None})
    return Raw(
        stored=stored,
        split=[f.split or "train" for f in files] if any(f.split for f in files) else None,
        ids=torch.tensor(kept, dtype=torch.int64),  # a bad file keeps its place, so mending it moves no id
        labels=torch.tensor([classes.index(f.label) if f.label else -1 for f in files]) if classes else None,
        classes=tuple(classes),
        captions=["".join(f.texts[:1]) for f in files] if any(any(f.texts) for f in files) else None,
        paraphrases=[f.texts[1:] for f in files] if any(f.texts[1:] for f in files) else None,
        names=[names[i] for i in kept],
        problems=problems + unreadable,
    )


def _one(folder: Path, split: str | None, root: Path, problems: list[Problem]) -> list[_File]:
    """The pictures of one split, or of a folder without splits."""
    metadata = _metadata(folder)
    if metadata is not None:
        return _captioned(folder, metadata, split, root, problems)
    loose, subfolders = _files(folder), _subfolders(folder)
    if loose and any(_deep(s) for s in subfolders):
        raise DataError(
            f"{folder}: {loose[0].name} lies beside the subfolder {subfolders[0].name}; put every picture into the"
            f" subfolder of its class, or all into one folder."
        )
    flat = [_File(f, split) for f in loose]
    return flat + [_File(f, split, label=s.name) for s in subfolders for f in _deep(s)]


def _captioned(folder: Path, metadata: Path, split: str | None, root: Path, problems: list[Problem]) -> list[_File]:
    """The pictures that `metadata` lists, and a problem for whatever does not match one to one."""
    lines = _lines(metadata)
    there = {f.relative_to(folder).as_posix(): f for f in _deep(folder)}
    listed = Counter(name for name, _ in lines)
    bad = {name: f"is listed {count} times in {metadata.name}" for name, count in listed.items() if count > 1}
    bad |= dict.fromkeys(listed.keys() - there.keys(), f"is listed in {metadata.name} but there is no such file")
    bad |= dict.fromkeys(there.keys() - listed.keys(), f"has no line in {metadata.name}")
    shown = folder.relative_to(root)
    problems += [Problem((shown / name).as_posix(), bad[name]) for name in sorted(bad)]
    files = []
    for name, texts in sorted(lines):
        if name not in bad:
            first = name.partition("/")[0].lower()
            files.append(_File(there[name], split or SPLIT_NAMES.get(first), texts=texts))
    return files


def _lines(metadata: Path) -> list[tuple[str, tuple[str, ...]]]:
    """(file name, texts) of each line. Raises `DataError` for a file that is not of this form."""
    try:
        with open(metadata, encoding="utf-8-sig", newline="") as file:
            if metadata.suffix == ".csv":
                rows: list[dict[str, object]] = [dict(row) for row in csv.DictReader(file)]
            else:
                rows = [dict(json.loads(line)) for line in file if line.strip()]
    except (ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{metadata}: cannot be read ({error}).") from None
    pairs = []
    for number, row in enumerate(rows, start=1):
        name, text = row.get("file_name"), row.get("text")
        texts = [t for t in (text if isinstance(text, list) else [text]) if isinstance(t, str)]
        if not isinstance(name, str) or len(texts) < (len(text) if isinstance(text, list) else 1):
            columns = ", ".join(str(c) for c in row)
            raise DataError(f"{metadata}: record {number} needs file_name and text; its columns are {columns}.")
        pairs.append((Path(name.replace("\\", "/")).as_posix(), tuple(texts)))
    return pairs


def _opener(path: Path) -> Opener:
    return lambda: open(path, "rb")


def _metadata(folder: Path) -> Path | None:
    return next((folder / m for m in _METADATA if (folder / m).is_file()), None)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and _is_record(p))


def _deep(folder: Path) -> list[Path]:
    found = _files(folder)
    for subfolder in _subfolders(folder):
        found += _deep(subfolder)
    return sorted(found)


def _is_record(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() not in _BESIDE
