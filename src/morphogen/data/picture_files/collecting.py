"""Many picture files to one stack of bytes (N, C, H, W), with a problem for each file that cannot be in it.

Headers are read first: they tell the commonest size, whether everything fits into memory, and which files have more
than 8 bits a value. Those share one range, so that equal values stay equal in the whole set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.data.options import Options
from morphogen.data.picture_files.reading import UNUSUAL, Header, bits_for, header, read_picture
from morphogen.data.pictures import with_channels, with_size
from morphogen.data.records import Problem

_MAX_BYTES = 8 << 30
_CHANNELS = {"gray": 1, "rgba": 4}

Opener = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Collected:
    """`stored` (N, C, H, W) uint8; `kept`, the positions that were read; `bits`, the range of the pictures with more
    than 8 bits a value, None where there are none; `notes`, what is unusual and was honored."""

    stored: Tensor
    kept: list[int]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bits: int | None = None


def collect(names: Sequence[str], openers: Sequence[Opener], options: Options) -> Collected:
    """Read picture files one by one.

    Without a size option all pictures must have the commonest size; the others are problems. Raises `DataError` where
    all do not fit into memory, before any of them is decoded.
    """
    headers = [_header(opener) for opener in openers]
    common = options.target or _commonest_size(headers)
    wanted = options if common is None else options.replace(size=f"{common[0]}x{common[1]}")
    _check_memory(len(names), common, options)
    bits = _range(openers, headers, options)
    pictures: list[Tensor] = []
    kept: list[int] = []
    problems: list[Problem] = []
    unusual: Counter[str] = Counter()
    for position, (name, opener) in enumerate(zip(names, openers, strict=True)):
        try:
            with opener() as file:
                picture = read_picture(file, bits)
            values = picture.values[None]
            if options.target is None and tuple(values.shape[2:]) != common and options.resize != "rotate":
                assert common is not None
                raise DataError(
                    f"is {values.shape[2]}x{values.shape[3]}, most are {common[0]}x{common[1]} (height x width);"
                    f" choose a size and how to reach it, such as size=64,resize=crop"
                )
            pictures.append(with_size(with_channels(values, options.channels, options.background_rgb), wanted))
            kept.append(position)
            unusual.update(picture.unusual)
        except (DataError, OSError) as error:
            problems.append(Problem(name, _words(error)))
    notes = [_note(kind, count, bits, options) for kind, count in sorted(unusual.items())]
    if not pictures:
        return Collected(torch.empty(0, 1, 0, 0, dtype=torch.uint8), kept, problems)
    most = max(p.shape[1] for p in pictures)  # "auto": color if any picture has color
    if most == 3:
        pictures = [with_channels(p, "rgb", options.background_rgb) for p in pictures]
    return Collected(torch.cat(pictures), kept, problems, notes, bits)


def commonest_size(openers: Iterable[Opener]) -> tuple[tuple[int, int] | None, bool]:
    """Height and width of most pictures, and whether one has more than 8 bits a value; only headers are read."""
    headers = [_header(opener) for opener in openers]
    return _commonest_size(headers), any(h is not None and h.deep for h in headers)


def _header(opener: Opener) -> Header | None:
    try:
        with opener() as file:
            return header(file)
    except (DataError, OSError):  # said when it is decoded
        return None


def _commonest_size(headers: Sequence[Header | None]) -> tuple[int, int] | None:
    sizes = Counter((h.height, h.width) for h in headers if h is not None)
    # Ties go to the smaller size, so that the answer does not depend on the order of the files.
    return min(sizes, key=lambda s: (-sizes[s], s)) if sizes else None


def _check_memory(n: int, size: tuple[int, int] | None, options: Options) -> None:
    if size is not None and n * size[0] * size[1] * _CHANNELS.get(options.channels, 3) > _MAX_BYTES:
        raise DataError(
            f"{n} pictures of {size[0]}x{size[1]} do not fit into {_MAX_BYTES >> 30} GiB of memory;"
            f" choose a smaller size, such as size=64,resize=crop."
        )


def _range(openers: Sequence[Opener], headers: Sequence[Header | None], options: Options) -> int | None:
    """The bits that all values of more than 8 bits fit into, as the option says or as they are."""
    deep = [opener for opener, h in zip(openers, headers, strict=True) if h is not None and h.deep]
    if not deep or options.bits is not None:
        return options.bits if deep else None
    largest = None
    for opener in deep:
        try:
            with opener() as file:
                found = read_picture(file, 16).largest
        except (DataError, OSError):
            continue
        largest = found if largest is None else max(largest, found or 0)
    return None if largest is None else bits_for(largest)


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be opened ({error.strerror or error})"
    return str(error)


def _note(kind: str, count: int, bits: int | None, options: Options) -> str:
    what = UNUSUAL[kind]
    if kind == "deep":
        what += f": values 0 to {(1 << (bits or 16)) - 1} become 0 to 255 (bits={bits})"
    if kind == "transparent" and options.channels != "rgba":
        what += f", laid on {options.background}"
    return f"{count:,} {'picture' if count == 1 else 'pictures'} with {what}"
