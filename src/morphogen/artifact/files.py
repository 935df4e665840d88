"""Files that are old or new and never half of each; the manifest.

A file is replaced by writing a sibling, syncing it and renaming it. A directory takes two renames,

    PATH -> .PATH.old,   .PATH.new -> PATH,

and a kill between them leaves PATH missing and .PATH.new complete, which `recover` sees and ends.
A few files change together (a card and the manifest that hashes it) through the manifest: the new
file waits as `NAME.new` until the manifest that lists it is in place.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from morphogen.core.errors import ArtifactError

FORMAT = 1
MANIFEST = "manifest.json"
OWNED = (
    "spec.json",
    "weights.safetensors",
    "tokenizer.json",
    "parts",
    "log.jsonl",
    "card.md",
    "evaluation",
    "audit",
    MANIFEST,
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling to write; it takes the place of `path` if the block ends well, and is removed if not."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON. Raises ValueError for NaN, which JSON cannot say."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """The JSON value in `path`. Raises `ArtifactError` if it is missing or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path.parent}: {path.name} is missing; this is no complete model directory.") from None
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path}: expected JSON, got something unreadable ({error}).") from None


def build_directory(path: Path) -> Path:
    """An empty sibling of `path` to build its successor in; what an earlier attempt left there is removed."""
    recover(path)
    new = path.with_name(f".{path.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    return new


def swap(path: Path) -> None:
    """Put the finished sibling in the place of `path`, keeping what is in `path` and is no part of an artifact."""
    new, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    if path.exists():
        os.rename(path, old)
    os.rename(new, path)
    _sync(path.parent)
    recover(path)


def recover(path: Path) -> None:
    """Complete what a kill interrupted in `swap` or in `commit`; does nothing to a directory in order."""
    new, old = path.with_name(f".{path.name}.new"), path.with_name(f".{path.name}.old")
    if not path.exists():
        if (new / MANIFEST).is_file():  # written last, so the rest is there
            os.rename(new, path)
        elif old.is_dir():
            os.rename(old, path)
    if old.is_dir():
        for entry in old.iterdir():
            if entry.name not in OWNED and not (path / entry.name).exists():
                os.rename(entry, path / entry.name)
        shutil.rmtree(old)
    for waiting in path.glob("*.new"):
        _settle(path, waiting)


def commit(root: Path, texts: Mapping[str, str]) -> None:
    """Replace top-level text files of an artifact together with its manifest; files new in it are hashed too."""
    manifest = _entries(root)
    for name, text in texts.items():
        waiting = root / f"{name}.new"
        waiting.write_text(text, encoding="utf-8")
        _sync(waiting)
        manifest[name] = _entry(waiting)
    write_json(root / MANIFEST, {"format": FORMAT, "files": manifest})
    for name in texts:
        _settle(root, root / f"{name}.new")


def read_manifest(root: Path) -> dict[str, dict[str, Any]]:
    """Name -> {"bytes", "sha256"} of each file.

    Raises `ArtifactError` if `root` is no artifact, is of a newer format, or lists files outside itself.
    """
    if not root.is_dir():
        raise ArtifactError(f"{root}: no such model directory; give one that a training has made.")
    manifest = read_json(root / MANIFEST)
    check_format(root / MANIFEST, manifest)
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(e, dict) for e in files.values()):
        raise ArtifactError(f"{root / MANIFEST}: expected the hashes of the files, got none.")
    for name in files:
        pure = PurePosixPath(name)
        inside = (root / name).resolve().is_relative_to(root.resolve())
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or not inside:
            raise ArtifactError(f"{root / MANIFEST}: {name!r} leads out of the model directory; do not trust it.")
    return files


def check_format(path: Path, content: Any) -> None:
    """Raise `ArtifactError` unless `content` is a JSON object of a format that this version reads."""
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or number < 1:
        raise ArtifactError(f"{path}: expected a format number, got {number!r}; this is no model directory.")
    if number > FORMAT:
        raise ArtifactError(
            f"{path}: written in format {number}, this version of morphogen reads formats up to {FORMAT}."
            " Install a newer morphogen to use this model."
        )


def verify(path: Path | str) -> list[str]:
    """The problems of an artifact, one sentence each, empty if it is sound.

    Sizes and hashes of all files are compared with the manifest. Raises `ArtifactError` if there
    is no manifest to compare with.
    """
    root = Path(path)
    recover(root)
    problems = []
    for name, expected in read_manifest(root).items():
        file = root / name
        if not file.is_file():
            problems.append(f"{name} is missing.")
        elif file.stat().st_size != expected.get("bytes"):
            problems.append(f"{name} has {file.stat().st_size} bytes, expected {expected.get('bytes')}.")
        elif sha256(file) != expected.get("sha256"):
            problems.append(f"{name} was changed after it was written: its hash differs.")
    listed = read_manifest(root)
    problems += [f"{name} is not listed in {MANIFEST}." for name in OWNED[:2] if name not in listed]
    return problems


def sha256(file: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _entry(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256(file)}


def _entries(root: Path) -> dict[str, dict[str, Any]]:
    """The manifest's entries, with those of owned files that it does not list yet."""
    known = read_manifest(root) if (root / MANIFEST).exists() else {}
    found = dict(known)
    for top in OWNED:
        files = sorted((root / top).rglob("*")) if (root / top).is_dir() else [root / top]
        for file in files:
            name = file.relative_to(root).as_posix()
            if file.is_file() and name != MANIFEST and name not in known:
                _sync(file)
                found[name] = _entry(file)
    return found


def _settle(root: Path, waiting: Path) -> None:
    """Let a waiting file take its place if the manifest speaks of it, else forget it."""
    if not (root / MANIFEST).is_file() or not waiting.is_file():
        return
    name = waiting.name.removesuffix(".new")
    if read_manifest(root).get(name, {}).get("sha256") == sha256(waiting):
        os.replace(waiting, root / name)
    elif name in OWNED:
        waiting.unlink()


def _sync(path: Path) -> None:
    """Ask the system to put a file or a directory entry on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
