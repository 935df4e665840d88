"""The records of an archive in memory, and as files: an .npz, or a folder of pictures that have their names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from morphogen.applications.compression.archives import Tally
from morphogen.applications.compression.coding import Decoded
from morphogen.applications.compression.container import Header
from morphogen.artifact.files import replacing, temporary
from morphogen.core.errors import DataError, MorphogenError, UsageError
from morphogen.core.paths import check_depth

MOST = 1 << 34  # bytes of records that are put together in memory
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Collected:
    """All records that could be read: values (n, *shape), a name each or None, and their places in the archive."""

    x: np.ndarray
    names: tuple[str, ...] | None
    places: np.ndarray


def alone(block: Decoded) -> Collected:
    """One block of an archive."""
    names = None if block.names is None else tuple(block.names)
    return Collected(block.values, names, block.start + np.arange(len(block.values)))


def collected(decoded: Iterable[Decoded], header: Header, tally: Tally) -> Collected:
    """The blocks of an archive together. Raises `DataError` where none can be read, or they are too many for memory."""
    blocks, size = list[Decoded](), 0
    for block in decoded:
        size += block.values.nbytes
        if size > MOST:
            raise DataError(f"the archive holds more than {MOST:,} bytes of records, which are not read at once.")
        blocks.append(block)
    if not blocks:
        told = f": {tally.problems[0]}" if tally.problems else ""
        raise DataError(f"no block of the archive can be read{told}.")
    blocks.sort(key=lambda block: block.start)
    names = None
    if any(block.names is not None for block in blocks):
        named = [block.names or [""] * len(block.values) for block in blocks]
        names = tuple(name for of in named for name in of)
    places = np.concatenate([block.start + np.arange(len(block.values)) for block in blocks])
    return Collected(np.concatenate([block.values for block in blocks]), names, places)


def write(out: Path, found: Collected, levels: int) -> None:
    """Write the records as FILE.npz or as pictures into the new folder `out`, as a whole or not at all.

    Raises `UsageError` and `MorphogenError`.
    """
    if out.suffix.lower() != ".npz":
        with picture_folder(out, levels) as add:
            add(found)
        return
    named: dict[str, Any] = {} if found.names is None else {"names": np.array(found.names, dtype=str)}
    try:
        with replacing(out) as sibling, open(sibling, "wb") as file:
            np.savez_compressed(file, x=found.x, place=found.places, **named)
    except OSError as error:
        raise _unwritten(out, error) from error


@contextmanager
def picture_folder(out: Path, levels: int, overwrite: bool = False) -> Iterator[Callable[[Collected], None]]:
    """A function that adds pictures to the new folder `out`, which is there once the block has ended well.

    A picture keeps its name; `.png` is added to one that does not end so. Raises `UsageError` and `MorphogenError`.
    """
    if out.suffix and not out.is_dir():
        raise UsageError(f"--out {out}: expected FILE.npz, or a folder for pictures.")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not overwrite)):
        raise UsageError(f"--out {out} exists: choose another name.")
    new, taken = temporary(out), set[str]()
    try:
        check_depth(new)
        new.mkdir(parents=True)
        yield lambda found: _add(new, taken, found, levels)
        if out.is_dir():
            shutil.rmtree(out)  # empty, or to be replaced
        os.replace(new, out)
    except (OSError, ValueError) as error:  # such as a name that no file can have
        raise _unwritten(out, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _add(folder: Path, taken: set[str], found: Collected, levels: int) -> None:
    x = found.x
    if x.ndim != 4 or x.shape[1] not in _MODES:
        raise UsageError(f"records of shape {x.shape[1:]} are no pictures: write FILE.npz.")
    for i, (values, place) in enumerate(zip(x, found.places.tolist(), strict=True)):
        name = _file_name("" if found.names is None else found.names[i], place)
        while name.casefold() in taken:
            name = f"{name.removesuffix('.png')}-{place}.png"
        taken.add(name.casefold())
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shades = values if levels == 256 else (values.astype(np.int64) * 255 // (levels - 1)).astype(np.uint8)
        picture = shades[0] if len(shades) == 1 else shades.transpose(1, 2, 0)
        Image.fromarray(picture, _MODES[len(shades)]).save(folder / name, "PNG")


def _unwritten(out: Path, error: OSError | ValueError) -> MorphogenError:
    return MorphogenError(f"--out {out} could not be written ({getattr(error, 'strerror', None) or error}).")


def _file_name(name: str, place: int) -> str:
    """The name of a record as that of a file below the folder, wherever it would lead."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    parts = [part.replace(":", "_").replace("\0", "_") for part in parts]
    found = "/".join(parts) or f"{place:06}"
    return found if found.lower().endswith(".png") else f"{found}.png"
