"""Locks for writers. The system releases a lock when its holder ends in any way, and the lock names its holder.

The lock of PATH lies beside it as .NAME.PURPOSE.lock, so PATH itself can be exchanged while the lock is held. Readers
take no lock.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from morphogen.core.errors import ArtifactError
from morphogen.core.paths import check_depth
from morphogen.core.reading import read_json

WAIT_S = 600.0  # a writer needs only moments
_SAY_AFTER_S = 3.0
INSIDE = ".morphogen-"  # begins the name of a lock in a folder beside which the user may not write
Purpose = Literal["training", "writing"]


@contextmanager
def locked(path: Path | str, purpose: Purpose, doing: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of `path` for `purpose` while the block runs.

    purpose   "training" is held by a whole training, "writing" for the moments in which files are exchanged
    doing     what the holder does, for those that find the lock taken: "training vae"
    wait_s    how long to wait for another holder; what waits longer than some seconds warns for whom

    Raises `ArtifactError` that names the holder where the lock is still taken after `wait_s`, and `OSError` where the
    folder cannot be written to.
    """
    target = Path(os.path.abspath(path))
    file = target.with_name(f".{target.name}.{purpose}.lock")
    check_depth(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not _writable(file):  # whose user cannot exchange it either
        file = target / f"{INSIDE}{purpose}.lock"
    lock = FileLock(file, mode=0o600 | (0o666 & ~_umask()))
    start = time.monotonic()
    said = False
    while True:
        left = wait_s - (time.monotonic() - start)
        try:
            lock.acquire(timeout=max(0.0, min(left, _SAY_AFTER_S)))
            break
        except Timeout:
            if wait_s - (time.monotonic() - start) <= 0:
                raise ArtifactError(f"{path} is in use: {_holder(file)}. Wait for it, or end it.") from None
            if not said:
                said = True
                warnings.warn(f"waiting for {path}: {_holder(file)}.", stacklevel=3)
    try:
        with suppress(OSError):
            about = {"process": os.getpid(), "host": socket.gethostname(), "doing": doing}
            file.write_text(json.dumps({**about, "since": _now()}), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            file.write_text("", encoding="utf-8")
        lock.release()


def _holder(file: Path) -> str:
    try:
        about = read_json(file, 4096)
        return f"process {about['process']} on {about['host']} has been {about['doing']} since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process holds its lock"


def _writable(file: Path) -> bool:
    return os.access(file if file.exists() else file.parent, os.W_OK)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
