"""A folder of pictures: flat, or one subfolder a class, with captions and more in `metadata.csv` or `metadata.jsonl`
(`metadata.py`) or beside the pictures (`beside.py`). Subfolders whose names mean splits (`split.split_of`) are splits,
each of which may be any of these.

Each file is used, or listed with the reason, or stops the work. A folder that may be held out is never trained on in
silence: pictures beside the splits, and splits inside of classes, are errors.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from morphogen.core.errors import DataError
from morphogen.core.printable import listed, one_line
from morphogen.data.folder.beside import matches, read_beside
from morphogen.data.folder.listing import Listing, by_parts, list_folder
from morphogen.data.folder.metadata import NAMES, Line, read_metadata
from morphogen.data.options import FolderOptions
from morphogen.data.picture_files.collecting import collect
from morphogen.data.picture_files.guards import open_file
from morphogen.data.raw import Raw
from morphogen.data.records import Files, Problem
from morphogen.data.split import split_of

_MAX_LISTED = 10


@dataclass(frozen=True)
class _File:
    name: str
    split: str | None = None
    label: str | None = None
    texts: tuple[str, ...] = ()


@dataclass
class _Scope:
    """A folder that is read as one: the whole, or a split of it. `prefix` is its name and "/", or empty."""

    found: Listing
    prefix: str
    split: str | None
    pictures: list[str]

    @property
    def folder(self) -> str:
        return one_line(str(self.found.root / self.prefix).rstrip("/"))

    def inner(self, name: str) -> str:
        return name.removeprefix(self.prefix)


@dataclass
class _Said:
    """What is found on the way: problems, notes, and files that captions were read from."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def list_pictures(root: Path) -> tuple[list[str], list[Problem]]:
    """The names of all pictures under `root`, in the order in which `read` gives them, and what cannot be used."""
    _, files, said = _listed(root)
    return [file.name for file in files], said.problems


def _listed(root: Path) -> tuple[Listing, list[_File], _Said]:
    found = list_folder(root)
    said = _Said(problems=list(found.problems))
    files = [file for scope in _scopes(found, said) for file in _read_scope(scope, said)]
    _say_what_is_left(found, said)
    if not files:
        empty = "there is no picture in this folder" if not found.pictures else "no record of this folder can be used"
        raise DataError(f"{root}: {empty}." + _lines(said.problems))
    return found, files, said


def read(root: Path, options: FolderOptions) -> Raw:
    """All pictures under `root` in the order of their names."""
    found, files, said = _listed(root)
    names = [file.name for file in files]
    shown = [one_line(name) for name in names]
    collected = collect(shown, [partial(open_file, found.path(name)) for name in names], options)
    problems = said.problems + collected.problems
    if not collected.kept:
        raise DataError(f"{root}: no record of this folder can be used." + _lines(problems))
    files = [files[i] for i in collected.kept]
    classes = sorted({f.label for f in files if f.label is not None})
    return Raw(
        stored=collected.stored,
        split=[f.split or "train" for f in files] if any(f.split for f in files) else None,
        ids=torch.tensor(collected.kept, dtype=torch.int64),  # a bad file keeps its place, so mending it moves no id
        labels=torch.tensor([classes.index(f.label) if f.label else -1 for f in files]) if classes else None,
        classes=tuple(classes),
        captions=["".join(f.texts[:1]) for f in files] if any(any(f.texts) for f in files) else None,
        paraphrases=[f.texts[1:] for f in files] if any(f.texts[1:] for f in files) else None,
        names=[shown[i] for i in collected.kept],
        groups=[_content(found.path(f.name)) for f in files] if options.split_by == "file" else None,
        problems=problems,
        bits=collected.bits,
        notes=said.notes + collected.notes,
        files=_totals(found, len(files), said.used),
    )


def _content(path: Path) -> str:
    """The hash of a file's bytes: equal files stay on one side, whatever the pictures are made into."""
    with open_file(path) as file:
        return hashlib.sha256(file.read()).hexdigest()


def _scopes(found: Listing, said: _Said) -> list[_Scope]:
    """The splits, or the whole folder as one."""
    whole = _Scope(found, "", None, found.pictures)
    if _metadata(found, "") is not None:
        return [whole]
    tops = sorted({name.partition("/")[0] for name in found.pictures if "/" in name})
    splits = {top: split for top in tops if (split := split_of(top)) is not None}
    if not splits:
        return [whole]
    loose = [name for name in found.pictures if "/" not in name]
    if loose:
        raise DataError(f"{found.root}: {one_line(loose[0])} lies beside the splits; move it into one of them.")
    others = [top for top in tops if top not in splits]
    if others:
        raise DataError(
            f"{found.root}: the folder {one_line(others[0])} lies beside {listed(list(splits), 5)}, which"
            f" {'are splits' if len(splits) > 1 else 'is a split'}, and holds pictures: move them into a split or"
            f" out of the folder. If all of these are classes, put them into one folder train/."
        )
    meant = [f"{top} as {split}" for top, split in splits.items() if top != split]
    if meant:
        said.notes.append(f"folders that are read as splits: {listed(meant, 10)}")
    return [_Scope(found, f"{t}/", s, [p for p in found.pictures if p.startswith(f"{t}/")]) for t, s in splits.items()]


def _read_scope(scope: _Scope, said: _Said) -> list[_File]:
    metadata = _metadata(scope.found, scope.prefix)
    if metadata is not None:
        return _described(scope, metadata, said)
    loose = [name for name in scope.pictures if "/" not in scope.inner(name)]
    if loose and len(loose) < len(scope.pictures):
        inner = next(scope.inner(name) for name in scope.pictures if name not in loose)
        raise DataError(
            f"{scope.folder}: {one_line(scope.inner(loose[0]))} lies beside the subfolder"
            f" {one_line(inner.partition('/')[0])}; put every picture into the subfolder of its class, or all into one"
            f" folder."
        )
    _refuse_inner_splits(scope)
    beside = read_beside(scope.found, scope.pictures)
    said.used |= beside.used
    said.notes += beside.notes
    said.problems += [Problem(name, beside.bad[name]) for name in sorted(beside.bad, key=by_parts)]
    labels = _labels(scope)
    return [
        _File(name, scope.split, labels.get(name), beside.texts.get(name, ()))
        for name in scope.pictures
        if name not in beside.bad
    ]


def _labels(scope: _Scope) -> dict[str, str]:
    """The class of each picture in a subfolder, in a form that can be shown and stored."""
    folders = {name: scope.inner(name).partition("/")[0] for name in scope.pictures if "/" in scope.inner(name)}
    shown: dict[str, str] = {}
    for folder in sorted(set(folders.values())):
        if (other := shown.setdefault(one_line(folder), folder)) != folder:
            raise DataError(
                f"{scope.folder}: two classes are both shown as {one_line(folder)} ({other!a} and {folder!a}); rename"
                " one."
            )
    return {name: one_line(folder) for name, folder in folders.items()}


def _refuse_inner_splits(scope: _Scope) -> None:
    """Raises `DataError` where a folder inside of a class has the name of a split: it could be held out."""
    for name in scope.pictures:
        folders = scope.inner(name).split("/")[1:-1]
        if found := next((f for f in folders if split_of(f)), None):
            outer = scope.inner(name).partition("/")[0]
            raise DataError(
                f"{scope.folder}: the folder {one_line(found)} inside of {one_line(outer)} has the name of a split,"
                f" which would be read as a part of the class {one_line(outer)}: put splits at the top"
                f" ({one_line(found)}/{one_line(outer)}), give {one_line(outer)} as the source, or rename it."
            )


def _described(scope: _Scope, metadata: str, said: _Said) -> list[_File]:
    """The pictures that a file of metadata lists, and a problem for whatever does not match one to one."""
    read = read_metadata(scope.found.path(metadata))
    said.used.add(metadata)
    said.notes += read.notes
    there = {scope.inner(name): name for name in scope.pictures}
    listing = Counter([*(line.name for line in read.lines), *(name for name in read.bad if name in there)])
    title = metadata.rpartition("/")[2]
    bad = {name: f"is listed {count} times in {title}" for name, count in listing.items() if count > 1}
    bad |= dict.fromkeys(listing.keys() - there.keys(), f"is listed in {title} but there is no such file")
    bad |= dict.fromkeys(there.keys() - listing.keys(), f"has no line in {title}")
    bad |= read.bad
    files = []
    for line in sorted(read.lines, key=lambda line: (line.name, line.texts)):
        if line.name not in bad:
            try:
                files.append(_file(scope, line, there[line.name]))
            except ValueError as error:
                bad[line.name] = str(error)
    said.problems += [Problem(scope.prefix + name, bad[name]) for name in sorted(bad)]
    if any("/" in line.name for line in read.lines) and not any(line.label for line in read.lines):
        said.notes.append(f"{title} has no column label, and its subfolders are not read as classes")
    without = [f.name for f in files if not any(f.texts)]
    if read.has_texts and without:
        said.notes.append(f"{title}: pictures with an empty text: {len(without):,} ({listed(without, 5)})")
    unnamed = [f.name for f in files if f.label is None]
    if len(unnamed) < len(files) and unnamed:
        said.notes.append(f"{title}: pictures without a class: {len(unnamed):,} ({listed(unnamed, 5)})")
    if texts := matches(scope.found, scope.pictures):
        said.notes.append(f"{len(texts):,} pictures have texts beside them, not read since {title} is there")
    return files


def _file(scope: _Scope, line: Line, name: str) -> _File:
    """Raises `ValueError` where the line and the folder contradict each other."""
    folders = line.name.split("/")[:-1]
    held = scope.split or (split_of(folders[0]) if folders else None)
    deeper = next((f for f in folders[0 if scope.split else 1 :] if split_of(f)), None)
    if line.split is not None and held is not None and line.split != held:
        raise ValueError(f"its split is {line.split} in the metadata, but it lies in {(scope.prefix or folders[0])}")
    if line.split is None and deeper is not None and split_of(deeper) != held:
        raise ValueError(f"lies in {deeper}, which has the name of a split: say it in a column split")
    return _File(name, line.split or held, line.label, line.texts)


def _metadata(found: Listing, prefix: str) -> str | None:
    """The file of metadata of a scope. Raises `DataError` where there are two."""
    names = [n for n in found.others if n.startswith(prefix) and n[len(prefix) :].lower() in NAMES]
    if len(names) > 1:
        raise DataError(f"{found.root}: {' and '.join(names)} both describe the pictures; keep one of them.")
    return names[0] if names else None


def _say_what_is_left(found: Listing, said: _Said) -> None:
    """Folders without pictures, links out of the folder, metadata that nothing reads."""
    full = {"", *(folder for name in found.pictures for folder in _above(name))}
    empty = [f for f in found.folders if f not in full and f.rpartition("/")[0] in full]
    if empty:
        said.notes.append(f"folders without pictures: {listed(empty, 10)}")
    if found.outside:
        said.notes.append(f"links that lead out of the folder and are read: {listed(found.outside, 10)}")
    for name in found.others:
        if re.fullmatch(r"metadata\.\w+", name.rpartition("/")[2].lower()) and name not in said.used:
            cure = "it belongs at the top of the folder or of a split" if name.lower().endswith(NAMES) else ""
            said.problems.append(Problem(name, f"is not read; {cure or 'write metadata.csv or metadata.jsonl'}"))


def _above(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _totals(found: Listing, records: int, used: set[str]) -> Files:
    """Every file once: links and pipes that are refused count as files that are left out."""
    others = tuple(name for name in found.others if name not in used)
    return Files(records, len(used), len(found.pictures) - records + len(found.problems), others)


def _lines(problems: Sequence[Problem]) -> str:
    lines = [f"\n  {problem}" for problem in problems[:_MAX_LISTED]]
    return "".join(lines) + f"\n  and {len(problems) - _MAX_LISTED} more" * (len(problems) > _MAX_LISTED)
