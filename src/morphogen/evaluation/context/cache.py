"""What was computed once is kept on disk under the hash of everything that it was computed from.

The folder is that of the environment variable MORPHOGEN_CACHE, or `morphogen` in the user's cache folder; "off" keeps
nothing. It may be deleted at any time. An entry that cannot be read is computed again, one that cannot be written is
not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

MOST_BYTES = 2 << 30  # the oldest entries beyond this are removed


def folder() -> Path | None:
    """Where entries are kept; None if they are not."""
    named = os.environ.get("MORPHOGEN_CACHE")
    if named is None:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "morphogen"
    return None if named in ("", "off") else Path(named)


def key(*parts: Any) -> str:
    """The sha256 of tensors (their shape, type and bytes) and of anything else by its JSON."""
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
    """The tensor kept under `name`, a `key`, or that of `make`, which is then kept."""
    found = _read(f"{name}.safetensors", lambda data: load(data)["value"])
    if found is None:
        found = make()
        _write(f"{name}.safetensors", save({"value": found.detach().cpu().contiguous()}))
    return found


def record(name: str, make: Callable[[], Any]) -> Any:
    """The JSON value kept under `name`, a `key`, or that of `make`, which is then kept."""
    found = _read(f"{name}.json", json.loads)
    if found is None:
        found = make()
        _write(f"{name}.json", json.dumps(found).encode())
    return found


def _read(name: str, parse: Callable[[bytes], Any]) -> Any:
    where = folder()
    if where is None:
        return None
    with suppress(Exception):  # missing, cut off, of another program: it is computed again
        value = parse((where / name).read_bytes())
        os.utime(where / name)
        return value
    return None


def _write(name: str, data: bytes) -> None:
    where = folder()
    if where is None:
        return
    part = where / f".{name}.{os.getpid()}"
    try:
        where.mkdir(parents=True, exist_ok=True)
        _make_room(where, len(data))
        part.write_bytes(data)
        os.replace(part, where / name)
    except OSError:  # a full disk or a folder of others: it is only a cache
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _make_room(where: Path, needed: int) -> None:
    entries = sorted((e for e in where.iterdir() if e.is_file()), key=lambda e: e.stat().st_mtime)
    total = sum(e.stat().st_size for e in entries) + needed
    for entry in entries:
        if total <= MOST_BYTES:
            return
        total -= entry.stat().st_size
        entry.unlink(missing_ok=True)
