"""Try the end of a run before its first step, so that a failure comes at once and not after hours.

The rehearsal writes the model once. It also allocates the disk space that the end needs, and frees it again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morphogen.core.errors import MorphogenError
from morphogen.trainer.checkpoint import CheckpointError

_NAME = ".rehearsal.tmp"


@contextmanager
def rehearsing(folder: Path) -> Iterator[Path]:
    """Make an empty folder inside `folder` for the block, and remove it afterwards.

    Raises `MorphogenError` if the block fails; the message says that the run has not begun.
    """
    room = folder / _NAME
    try:
        room.mkdir()
        yield room
    except CheckpointError:
        raise
    except (MorphogenError, OSError, ValueError, TypeError) as error:
        reason = error.__cause__ or error
        raise MorphogenError(
            f"{folder.parent}: the model could not be written at the end, so training does not begin ({reason})."
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def reserve(room: Path, checkpoint: int, kept: bool) -> None:
    """Allocate the disk space of the end of a run: a checkpoint of `checkpoint` bytes beside the last one, and the
    model.

    `room` holds the model. `kept` says that the last checkpoint exists already. Raises `CheckpointError` if the disk, a
    quota or a limit on file sizes does not allow it.
    """
    intact = "The previous checkpoint is intact. " if kept else ""
    _take(room / "next", checkpoint, intact)  # the model is written after this one has replaced the last one
    if not kept:
        _take(room / "last", checkpoint, intact)


def _take(file: Path, size: int, intact: str) -> None:
    if not size:
        return
    try:
        with file.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            elif shutil.disk_usage(file.parent).free < size:
                raise OSError(f"the disk has less than {size:,} bytes free")
    except OSError as error:
        raise CheckpointError(
            f"{file.parents[2]}: a checkpoint of {size:,} bytes could not be written ({error.strerror or error})."
            f" {intact}Make room, or choose another place."
        ) from error
