"""A folder that is replaced as a whole or not at all.

The new folder is built beside the old one under a temporary name, and the two change places in one step
(`exchange.py`); where the system cannot, by two renames. What lies in the old one and is no part of the artifact, such
as `checkpoint/`, then moves over, and the rest of the old one is removed.

Each of the two holds, for that time, a marker with the temporary name. A folder beside PATH whose name is in its own
marker is what a killed writer has left; `recover` ends its work. Nothing else is ever removed: a copy, or a folder that
a user has given any name, has no such marker or is called otherwise. Only the holder of the lock "writing" calls this.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from morphogen.artifact import files, manifest
from morphogen.artifact.exchange import exchanged
from morphogen.artifact.locks import WAIT_S, locked
from morphogen.artifact.manifest import MARKER
from morphogen.artifact.snapshot import MANIFEST
from morphogen.core.errors import ArtifactError
from morphogen.core.paths import check_depth
from morphogen.core.reading import read_json

NEW, OLD = "new", "old"
_OURS = (
    "spec.json",
    "weights.safetensors",
    "tokenizer.json",
    "sequence.json",
    "parts",
    "log.jsonl",
    "card.md",
    MANIFEST,
)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of `path` if the block ends well, and is removed if not."""
    recover(path)
    new = files.temporary(path)
    check_depth(new)
    new.mkdir(parents=True)
    try:
        _mark(new, new.name, NEW)
        if path.is_dir():
            shutil.copymode(path, new)
        yield new
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    _swap(path, new)


def recover(path: Path) -> None:
    """End what a kill has cut short at `path`; does nothing where all is in order."""
    left = _left(path)
    if not path.exists():
        whole = [folder for held in (NEW, OLD) for folder in left if left[folder] == held and _is_whole(folder)]
        if whole:
            os.rename(whole[0], path)
            del left[whole[0]]
    for folder, held in left.items():
        if held == OLD and path.is_dir():
            _move_others(folder, path)
            shutil.rmtree(folder)
        elif held == NEW:
            shutil.rmtree(folder)
    if path.is_dir():
        (path / MARKER).unlink(missing_ok=True)
        manifest.settle(path)


def recover_locked(path: Path) -> None:
    """`recover`, as the one writer, where something is to be done."""
    waiting = path.is_dir() and any(files.temporary_for(entry.name) for entry in path.iterdir())
    if waiting or (path / MARKER).exists() or _left(path):
        with locked(path, "writing", "completing what was cut short", WAIT_S):
            recover(path)


def _swap(path: Path, new: Path) -> None:
    if not path.exists():
        os.rename(new, path)
        files.sync(path.parent)
    else:
        _mark(path, new.name, OLD)
        old = new
        if not exchanged(new, path):
            old = files.temporary(path)
            _mark(path, old.name, OLD)
            os.rename(path, old)
            os.rename(new, path)
        files.sync(path.parent)
        _move_others(old, path)
        shutil.rmtree(old)
    (path / MARKER).unlink(missing_ok=True)


def _mark(folder: Path, name: str, held: str) -> None:
    (folder / MARKER).write_text(json.dumps({"folder": name, "holds": held}), encoding="utf-8")


def _left(path: Path) -> dict[Path, str]:
    """What killed writers have left beside `path`, and whether it holds the new content or the old one."""
    left = {}
    with suppress(FileNotFoundError, NotADirectoryError):
        for folder in path.parent.iterdir():
            if files.temporary_for(folder.name) == path.name and folder.is_dir() and not folder.is_symlink():
                if not os.listdir(folder):  # its writer was killed before it could mark it
                    left[folder] = NEW
                with suppress(OSError, ValueError, KeyError, TypeError):
                    marker = read_json(folder / MARKER, 4096)
                    if marker["folder"] == folder.name and marker["holds"] in (NEW, OLD):
                        left[folder] = str(marker["holds"])
    return left


def _is_whole(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()  # written last, so the rest is there


def _move_others(old: Path, path: Path) -> None:
    """Move what is in `old` and is no part of the artifact there to its place in `path`."""
    try:
        listed = {MANIFEST, *manifest.read(old)}
    except ArtifactError:  # damaged: what has the name of a file of ours is taken for one
        listed = {MANIFEST, *(name for name in manifest.found(old) if name.split("/")[0] in _OURS)}
    ours = {name.split("/")[0] for name in listed}
    for entry in list(old.iterdir()):
        passing = entry.name == MARKER or files.temporary_for(entry.name) is not None
        if entry.name not in ours and not passing and not os.path.lexists(path / entry.name):
            os.rename(entry, path / entry.name)
    for name in list(manifest.found(old)):
        if name not in listed and not os.path.lexists(path / name):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(old / name, path / name)
