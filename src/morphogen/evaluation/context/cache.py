"""A cache on disk of computed results. The name of an entry is the hash of everything that it was computed from.

The environment variable MORPHOGEN_CACHE names the folder; the default is `morphogen` in the user's cache folder, and
"off" keeps nothing. The folder may be deleted at any time. An entry that cannot be read is computed again. An entry
that cannot be written is not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from morphogen.core.reading import parse_json, read_bytes

MAX_BYTES = 2 << 30  # the most bytes of the cache
_OURS = re.compile(r"\.?[0-9a-f]{64}\.(safetensors|json)(\.\d+(-[0-9a-f]{16})?)?")  # or the rest of a killed writer


def folder() -> Path | None:
    """The folder of the cache, or None if there is none, as for a user without a home."""
    named = os.environ.get("MORPHOGEN_CACHE")
    if named is not None:
        return None if named in ("", "off") else Path(named)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches) / "morphogen"
    try:
        return Path.home() / ".cache" / "morphogen"
    except RuntimeError:  # the user has neither a home nor a name
        return None


def key(*parts: Any) -> str:
    """The sha256 of its arguments: tensors by shape, type and bytes, other values by their JSON."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b"|")
    return digest.hexdigest()


def tensor(name: str, make: Callable[[], Tensor]) -> Tensor:
    """The tensor of the entry `name` (a `key`). If it is missing, `make` computes it and the cache keeps it."""
    found = _read(f"{name}.safetensors", _value)
    if found is None:
        found = make()
        _write(f"{name}.safetensors", save({"value": found.detach().cpu().contiguous()}))
    return found


def record(name: str, make: Callable[[], Any]) -> Any:
    """The JSON value of the entry `name` (a `key`). If it is missing, `make` computes it and the cache keeps it."""
    found = _read(f"{name}.json", parse_json)
    if found is None:
        found = make()
        _write(f"{name}.json", json.dumps(found).encode())
    return found


def _read(name: str, parse: Callable[[bytes], Any]) -> Any:
    where = folder()
    if where is None:
        return None
    try:
        value = parse(read_bytes(where / name, MAX_BYTES))
    except (OSError, ValueError, KeyError, SafetensorError):  # missing, cut off, or of another program
        return None
    with suppress(OSError):  # a cache without write permission
        os.utime(where / name)
    return value


def _value(data: bytes) -> Tensor:
    return load(data)["value"]


def _write(name: str, data: bytes) -> None:
    where = folder()
    if where is None:
        return
    part = where / f".{name}.{os.getpid()}-{secrets.token_hex(8)}"
    with suppress(OSError):  # a full disk, or no write permission
        where.mkdir(parents=True, exist_ok=True)
        _make_room(where, len(data))
        try:
            part.write_bytes(data)
            os.replace(part, where / name)
        finally:
            part.unlink(missing_ok=True)


def _make_room(where: Path, needed: int) -> None:
    """Remove the oldest entries of this package. Other processes may do the same at the same time."""
    entries = []
    for entry in where.iterdir():
        if _OURS.fullmatch(entry.name):
            with suppress(OSError):
                about = entry.stat()
                entries.append((about.st_mtime, about.st_size, entry))
    total = sum(size for _, size, _ in entries) + needed
    for _, size, entry in sorted(entries):
        if total <= MAX_BYTES:
            return
        total -= size
        entry.unlink(missing_ok=True)
