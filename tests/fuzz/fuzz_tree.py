"""Damage to a model directory as a whole: files that are missing, exchanged, linked, pipes, folders, or too many."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

_EXTRA = (
    "evil.py",
    "__init__.py",
    "pytorch_model.bin",
    "weights.safetensors.new",
    "spec.json.new",
    ".tmp",
    "evaluation/x.json",
    "evaluation/.hidden.json",
    "audit/x.json",
    "parts/extra/spec.json",
    "parts/x.py",
    "config.json",
    "a\nb",
    "\x1b[31m.json",
    "\u202egnp.json",
    os.fsdecode(b"\xe9\xff"),
    "n" * 200,
    "README.md",
    "checkpoint/state.safetensors",
)


def files_of(root: Path) -> list[Path]:
    """All regular files below, in a fixed order."""
    return sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink())


def damage_tree(root: Path, others: Sequence[Path], random_: random.Random) -> str:
    """Change the directory `root` in one way; `others` are good models to take files from. Says what was done."""
    file = random_.choice(files_of(root) or [root / "spec.json"])
    name = file.relative_to(root).as_posix()
    kind = random_.choice(tuple(_WAYS))
    _WAYS[kind](root, file, others, random_)
    return f"tree: {kind} {name}"


def _gone(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


def _missing(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    _gone(file)


def _empty(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    file.write_bytes(b"")


def _folder(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    _gone(file)
    file.mkdir()


def _pipe(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    _gone(file)
    os.mkfifo(file)


def _link_out(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    """To the same content elsewhere, to a file of the system, to a device, or to nothing."""
    outside = root.parent / f"outside-{file.name}"
    shutil.copyfile(file, outside)
    _gone(file)
    file.symlink_to(random_.choice((outside, outside, Path("/etc/passwd"), Path("/dev/zero"), Path("nowhere"))))


def _link_circle(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    target = random_.choice((file.name, "..", "../" + root.name, "."))
    where = random_.choice((file, root / "evaluation" / "loop.json", root / "parts" / "again"))
    where.parent.mkdir(exist_ok=True, parents=True)
    _gone(where)
    where.symlink_to(target)


def _folder_link(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    """A folder of the model lies elsewhere, behind a link."""
    name = random_.choice(("parts", "evaluation", "audit"))
    there = root / name
    outside = root.parent / f"outside-{name}"
    if there.is_dir() and not there.is_symlink():
        shutil.move(there, outside)
    else:
        _gone(there)
        shutil.copytree(random_.choice(others), outside, dirs_exist_ok=True)
    there.symlink_to(outside)


def _swapped(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    other = random_.choice(others) / file.name
    if other.is_file():
        shutil.copyfile(other, file)
    else:
        file.write_bytes(random_.randbytes(100))


def _part_swapped(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    """Another model, or the model itself, as its part."""
    parts = [p for p in (root / "parts").glob("*") if p.is_dir() and not p.is_symlink()]
    where = random_.choice(parts) if parts else root / "parts" / "autoencoder"
    where.parent.mkdir(exist_ok=True)
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(random_.choice(others), where, ignore=shutil.ignore_patterns("checkpoint", "samples"))


def _extra(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    for _ in range(random_.choice((1, 1, 3))):
        extra = root / random_.choice(_EXTRA)
        if not extra.exists():
            extra.parent.mkdir(parents=True, exist_ok=True)
            extra.write_bytes(random_.choice((b"", b"{}", b"raise SystemExit('code ran')\n", random_.randbytes(50))))


def _siblings(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    """Folders of somebody else that look like traces of an interrupted exchange."""
    for name in (f".{root.name}.old", f".{root.name}.new", f".{root.name}.tmp"):
        if random_.random() < 0.6 and not (root.parent / name).exists():
            (root.parent / name).mkdir()
            (root.parent / name / random_.choice(("mine.txt", "manifest.json"))).write_text("{}")
    if random_.random() < 0.3:
        shutil.rmtree(root)


def _sparse(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    """A file of gigabytes that takes no space on the disk."""
    os.truncate(file, random_.choice((300 << 20, 5 << 30, 1 << 40)))


def _no_rights(root: Path, file: Path, others: Sequence[Path], random_: random.Random) -> None:
    file.chmod(0)


_WAYS = {
    "missing": _missing,
    "empty": _empty,
    "folder": _folder,
    "pipe": _pipe,
    "link out": _link_out,
    "link in a circle": _link_circle,
    "folder behind a link": _folder_link,
    "swapped": _swapped,
    "part swapped": _part_swapped,
    "extra": _extra,
    "siblings": _siblings,
    "sparse": _sparse,
    "no rights": _no_rights,
}
