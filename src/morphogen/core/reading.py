"""Read untrusted files: regular files of bounded size, and JSON of bounded depth without NaN."""

from __future__ import annotations

import io
import math
import os
import stat
from pathlib import Path
from typing import Any, Protocol

import pydantic_core

MAX_JSON_BYTES = 256 << 20
_PIECE = 1 << 22


class Readable(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int, /) -> bytes: ...


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading.

    Raises `OSError` if it cannot be opened. Raises `ValueError` for a folder, and for a pipe or a device, because
    reading these may never end.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no regular file")
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes.

    Raises `OSError` and `ValueError` as `open_regular` does, and `ValueError` if the file is larger.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise ValueError(f"it has {size:,} bytes, and at most {most:,} are read")
        data = read_at_most(file, most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than the {most:,} bytes that are read")
    return data


def read_at_most(file: Readable, most: int) -> bytes:
    """Up to `most` bytes of an open file, in pieces: one `read` of so many would reserve them all at once."""
    pieces = []
    while most > 0 and (piece := file.read(min(most, _PIECE))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def parse_json(text: bytes | str) -> Any:
    """Parse one JSON document in linear time.

    Raises `ValueError` for text that is not JSON in UTF-8, for NaN and infinity, for numbers that float64 cannot hold,
    for halves of surrogate pairs, and for more than about 200 nested levels.
    """
    value = pydantic_core.from_json(text, allow_inf_nan=False, cache_strings="keys")
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError("a number is too large for float64")
    return value


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> Any:
    """Read and parse a JSON file. Raises `OSError` or `ValueError`, as `read_bytes` and `parse_json` do."""
    return parse_json(read_bytes(path, most))
