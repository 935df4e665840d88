"""Replace files as a whole, by way of temporary files.

A file is replaced by writing a sibling, syncing it and renaming it. The sibling's name carries our mark, the process
and a random part, `.NAME.morphogen-PID-RANDOM`: two writers never meet in it, and what a killed writer has left can be
told from the files of others.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from morphogen.core.reading import open_regular

_MARKED = re.compile(r"\.(?P<name>.+)\.morphogen-[0-9]+-[0-9a-f]{16}")


def temporary(path: Path) -> Path:
    """A temporary sibling of `path` that no other writer uses."""
    return path.with_name(f".{path.name}.morphogen-{os.getpid()}-{secrets.token_hex(8)}")


def temporary_for(name: str) -> str | None:
    """The name of the file or folder that a `temporary` of this name was to replace; None if it is no such name."""
    found = _MARKED.fullmatch(name)
    return found["name"] if found else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling to write; it takes the place of `path` if the block ends well, and is removed if not.

    Its mode is the one that the umask gives to new files, whoever writes to it in the block.
    """
    sibling = temporary(path)
    try:
        with open(sibling, "xb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield sibling
        os.chmod(sibling, mode)
        sync(sibling)
        os.replace(sibling, path)
        sync(path.parent)
    finally:
        sibling.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON. Raises `ValueError` for NaN, which JSON cannot say."""
    with replacing(path) as sibling:
        sibling.write_bytes(json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """`value` as a JSON document for people too. Raises `ValueError` for NaN and for halves of surrogate pairs."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256(file: Path) -> str:
    """The hash of a regular file's content, in hexadecimal. Raises `OSError` or `ValueError`, as `open_regular`."""
    with open_regular(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Ask the system to put a file or a directory entry on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
