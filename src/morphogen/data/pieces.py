"""Pictures of a folder or an .npz file in pieces, of which one at a time is in memory.

They are those that `load` gives, in its order. A folder is listed first, and the headers of its files are read, so that
all pictures get one size and one number of channels; where these are not known, the pictures are decoded twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.core.printable import one_line
from morphogen.data import npz
from morphogen.data.array_file import ArrayFile
from morphogen.data.arrays import pictures_from
from morphogen.data.folder.layout import list_pictures
from morphogen.data.in_memory import AnyData, is_source
from morphogen.data.load import sources
from morphogen.data.options import OwnSplits
from morphogen.data.picture_files.collecting import Opener, collect, commonest_size
from morphogen.data.picture_files.guards import open_file
from morphogen.data.pictures import prepared
from morphogen.data.source import parse

Piece = tuple[np.ndarray, Sequence[str] | None]  # pictures (n, C, H, W) of bytes, and their names


class Pieces(NamedTuple):
    """What the pictures are, and an iterator over them."""

    spec: DataSpec
    pieces: Iterator[Piece]


def in_pieces(source: AnyData, like: DataSpec | None, n: int) -> Pieces | None:
    """The pictures of a source, `n` at a time; None for a source that has to be read as a whole.

    These are folders and .npz files of pictures of 8 bits that stay as they are but for their size and colors. Raises
    `DataError` for pictures that cannot be used, and for those that do not fit `like`.
    """
    if not is_source(source) or (like is not None and (like.levels != 256 or not like.is_picture)):
        return None
    parsed = parse(str(source), sources().keys())
    path = Path(parsed.name)
    if parsed.name in sources() or not (path.is_dir() or (path.suffix.lower() == ".npz" and path.is_file())):
        return None
    options = OwnSplits.settled(parsed.name, parsed.options, like, False)
    if options.binary is not None or options.context is not None or options.bits is not None or options.skip_bad:
        return None
    made = _of_folder(path, options, n) if path.is_dir() else _of_file(path, options, n)
    if made is None:
        return None
    shape, pieces = made
    if like is not None and shape != like.shape:
        raise DataError(f"{parsed.name}: expected pictures of shape {like.shape}, got {shape}.")
    found = DataSpec(name=path.stem, source=options.canonical(parsed.name), shape=shape, kind="continuous", levels=256)
    return Pieces(like or found, pieces)


def _of_folder(root: Path, options: OwnSplits, n: int) -> tuple[tuple[int, ...], Iterator[Piece]] | None:
    names, problems = list_pictures(root)
    if problems:
        raise DataError(f"{root}: {problems[0]}.")
    openers = [partial(open_file, root / name) for name in names]
    common, deep = commonest_size(openers)
    if deep or common is None:
        return None
    if options.target is None:
        options = options.replace(size=f"{common[0]}x{common[1]}")
    shown = [one_line(name) for name in names]
    if options.channels == "auto":
        colors = any(values.shape[1] == 3 for values, _ in _read(root, shown, openers, options, n))
        options = options.replace(channels="rgb" if colors else "gray")
    channels = {"gray": 1, "rgb": 3, "rgba": 4}[options.channels]
    assert options.target is not None
    return (channels, *options.target), _read(root, shown, openers, options, n)


def _read(root: Path, names: Sequence[str], openers: Sequence[Opener], options: OwnSplits, n: int) -> Iterator[Piece]:
    """The pictures of these files. Raises `DataError` for the first that cannot be used."""
    for start in range(0, len(names), n):
        here = slice(start, start + n)
        found = collect(names[here], openers[here], options)
        if found.problems:
            raise DataError(
                f"{root}: {found.problems[0]}; mend it, or leave such pictures out with the option skip_bad."
            )
        yield found.stored.numpy(), list(names[here])


def _of_file(path: Path, options: OwnSplits, n: int) -> tuple[tuple[int, ...], Iterator[Piece]] | None:
    with ArrayFile(path) as file:
        arrays = npz.arrays_of_records(file)
        headers = [file.header(name) for name in arrays]
        usual = all(h.dtype == np.uint8 and not h.fortran and len(h.shape) in (3, 4) and all(h.shape) for h in headers)
        if not usual or len({h.shape[1:] for h in headers}) != 1:
            return None
    pieces = _of_arrays(path, arrays, options, n)
    first = next(pieces)

    def every() -> Iterator[Piece]:
        yield first
        yield from pieces

    return first[0].shape[1:], every()


def _of_arrays(path: Path, arrays: Sequence[str], options: OwnSplits, n: int) -> Iterator[Piece]:
    with ArrayFile(path) as file:
        for name in arrays:
            for values in file.pieces(name, n):
                yield prepared(pictures_from(values), options).numpy(), None
