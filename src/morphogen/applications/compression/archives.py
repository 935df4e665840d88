"""Archives: records to a file, block by block, and back.

A block is read, coded and written before the next one is looked at, so an archive may be larger than memory.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from morphogen.applications.compression import coding, container, model_inside
from morphogen.applications.compression.coding import Decoded
from morphogen.applications.compression.container import (
    CODERS,
    CONDITIONALS,
    INTEGERS,
    LATENTS,
    MAX_VALUES,
    PLAIN,
    Block,
    Damaged,
    End,
    Header,
    Problem,
)
from morphogen.artifact.files import replacing
from morphogen.core.errors import DataError
from morphogen.core.family import Family
from morphogen.core.reading import open_regular
from morphogen.theory import picture_quality

Records = tuple[np.ndarray, Sequence[str] | None]  # values (n, *shape) uint8, and a name each
VALUES = {PLAIN: 1 << 19, CONDITIONALS: 1 << 19, LATENTS: 1 << 21, INTEGERS: 1 << 20}  # of a block, about
LOCKSTEP = 64  # records that are worth coding together


@dataclass
class Tally:
    """What was written or read.

    records, blocks    how many
    bytes              of the file
    model_bytes        of the model inside
    coders             blocks by coder
    bits               what the model's probabilities ask for, of the `modeled` records that it coded
    nearness           PSNR and MS-SSIM of each picture, where there is a loss
    seconds            it took
    problems           what is damaged
    """

    records: int = 0
    blocks: int = 0
    bytes: int = 0
    model_bytes: int = 0
    coders: Counter[str] = field(default_factory=Counter)
    bits: float = 0.0
    modeled: int = 0
    nearness: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)


def block_of(dimensions: int, coder: int) -> int:
    """How many records make a block.

    Those of bits-back are larger, since each begins with records coded plainly. Conditionals take their time for each
    element, of however many records in lockstep, so that large records are not coded few at a time.
    """
    least = LOCKSTEP if coder == CONDITIONALS else 1
    return max(1, min(max(VALUES[coder] // dimensions, least), MAX_VALUES // dimensions, 1 << 20))


def write(path: Path, header: Header, records: Iterable[Records], family: Family | None, inside: bytes | None) -> Tally:
    """Write an archive at once or not at all. Raises `OSError`, and `DataError` where there is no record."""
    tally, begun, content = Tally(), time.perf_counter(), 0
    with replacing(path) as sibling, open(sibling, "wb") as file:
        if inside is not None:
            header = header.model_copy(update={"inside": model_inside.described(inside)})
        container.write_start(file, header)
        file.write(inside or b"")
        for index, (values, names) in enumerate(_blocks(records, header)):
            coded = coding.encode(index, values, names, header, family)
            container.write_block(file, coded.block)
            content = zlib.crc32(coded.made.tobytes(), content)
            _count(tally, coded.block)
            if header.quality is not None:
                tally.nearness += nearness(values, coded.made, header.levels)
            if coded.bits is not None:
                tally.bits, tally.modeled = tally.bits + coded.bits, tally.modeled + len(values)
        if not tally.records:
            raise DataError("there are no records to compress.")
        container.write_end(file, End(tally.blocks, tally.records, content))
        tally.bytes = file.tell()
    tally.model_bytes, tally.seconds = len(inside or b""), time.perf_counter() - begun
    return tally


def open_archive(path: Path) -> BinaryIO:
    """A file to read. Raises `DataError` where it is none."""
    try:
        return open_regular(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def read_header(path: Path) -> Header:
    """What an archive says of itself. Raises `DataError`."""
    with open_archive(path) as file:
        return container.read_start(file, str(path))


def read_inside(path: Path) -> bytes | None:
    """The model inside an archive, as it was put there. Raises `DataError`."""
    with open_archive(path) as file:
        header = container.read_start(file, str(path))
        return None if header.inside is None else model_inside.checked(file.read(header.inside.bytes), header, path)


def blocks(path: Path, tally: Tally) -> Iterator[Block]:
    """The blocks of an archive that are whole; what is not is told in `tally.problems`, as is what is missing."""
    with open_archive(path) as file:
        header = container.read_start(file, str(path))
        if header.inside is not None:
            tally.model_bytes = header.inside.bytes
            file.seek(header.inside.bytes, 1)
        seen: set[int] = set()
        for part in container.read_parts(file, header):
            if isinstance(part, Problem):
                tally.problems.append(part.what)
            elif isinstance(part, End):
                lost = part.blocks - len(seen)
                if lost > 0:
                    tally.problems.append(f"{lost:,} of {part.blocks:,} blocks are lost")
            elif part.index in seen:
                tally.problems.append(f"block {part.index} occurs twice, and is read once")
            else:
                seen.add(part.index)
                _count(tally, part)
                yield part
        tally.bytes = file.seek(0, 2)


def needs_model(path: Path) -> bool:
    """Whether a block of an archive is coded by a model."""
    return any(block.coder != PLAIN for block in blocks(path, Tally()))


def read(path: Path, header: Header, family: Family | None, tally: Tally) -> Iterator[Decoded]:
    """The records of an archive, block by block. Damaged blocks are left out and told in `tally.problems`."""
    begun = time.perf_counter()
    for block in blocks(path, tally):
        try:
            yield coding.decode(block, header, family)
        except Damaged as error:
            tally.records -= block.records
            hint = "" if header.exact else f"; it was coded on {header.machine}, and promises nothing elsewhere"
            tally.problems.append(f"block {block.index} of {block.records:,} records is lost: {error}{hint}")
    tally.seconds = time.perf_counter() - begun


def nearness(values: np.ndarray, made: np.ndarray, levels: int) -> list[tuple[float, float]]:
    """PSNR in dB and MS-SSIM of each picture (n, C, H, W)."""
    a, b = torch.from_numpy(values).double(), torch.from_numpy(made).double()
    peak = float(levels - 1)
    pairs = zip(picture_quality.psnr(a, b, peak).tolist(), picture_quality.ms_ssim(a, b, peak).tolist(), strict=True)
    return list(pairs)


def _count(tally: Tally, block: Block) -> None:
    tally.records += block.records
    tally.blocks += 1
    tally.coders[CODERS[block.coder]] += 1


def _blocks(records: Iterable[Records], header: Header) -> Iterator[Records]:
    """Records in pieces of any sizes to blocks of `header.block`."""
    values, names = np.empty((0, *header.shape), np.uint8), list[str]()
    for more, called in records:
        values, names = np.concatenate((values, more)), [*names, *(called or ())]
        while len(values) >= header.block:
            yield values[: header.block], names[: header.block] or None
            values, names = values[header.block :], names[header.block :]
    if len(values):
        yield values, names or None
