"""The end of a run, tried before its first step: the model is written once, and the room for all that the end writes is
taken and given back. What could fail after hours then fails at once.
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
    """An empty folder inside `folder` to write into, removed afterwards.

    Raises `MorphogenError` for what fails in the block, in the words of a run that has not begun.
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
    """Take what the end of a run takes on disk: a checkpoint of so many bytes beside the last one, then the model.

    `room` holds the model. `kept` says that the last checkpoint is there already. Raises `CheckpointError` where the
    disk, a quota or a limit on the size of files does not allow it.
    """
    intact = "The previous checkpoint is intact. " if kept else ""
    _take(room / "next", checkpoint, intact)  # the model is written when this one has taken the last one's place
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
