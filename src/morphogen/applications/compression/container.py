"""The bytes of an archive: a header, blocks and an end, each with a checksum. `docs/compression.md` describes it.

    magic, version, length and CRC of the header    the header, JSON
    the model, if it is inside                      its length and sha256 are in the header
    a block:  head (`_BLOCK`), names, code          as many as there are
    the end:  head (`_END`)

The version is 1, or 2 where blocks are coded with a loss, so that an older reader refuses what it cannot read. All
integers are little-endian. Lengths are believed only after the CRC of the head that states them, and only up to fixed
limits, so that a hostile file takes neither memory nor time. A reader that meets a damaged head looks for the next one
that is whole: damage costs the block that it hits and no other.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import pydantic
from pydantic import Field

from morphogen.core.errors import DataError
from morphogen.core.printable import one_line
from morphogen.core.reading import parse_json

MAGIC = b"\x93MGZ\r\n\x1a\n"
VERSION = 2
LOSSLESS = 1  # the version of archives without loss
MAX_HEADER = 1 << 20
MAX_VALUES = 1 << 26  # decoded bytes of a block
MAX_MODEL = 1 << 28  # bytes of a model inside, pressed or not
PLAIN, CONDITIONALS, LATENTS, INTEGERS = 0, 1, 2, 3  # the coder of a block
CODERS = {PLAIN: "plain", CONDITIONALS: "conditionals", LATENTS: "latents", INTEGERS: "integers"}
_START = struct.Struct("<8sHII")
_BLOCK = struct.Struct("<4sIIBIIII")  # mark, index, records, coder, bytes of names, of code, CRC of content, of both
_END = struct.Struct("<4sIQI")  # mark, blocks, records, CRC of all decoded records
_CRC = struct.Struct("<I")
_MARK, _LAST = b"MGZB", b"MGZE"
_WINDOW = 1 << 20


class Damaged(DataError):
    """A part of an archive is not what was written."""


class InsideModel(pydantic.BaseModel):
    """The model in an archive."""

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="ignore")

    bytes: int = Field(ge=1, le=MAX_MODEL)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Header(pydantic.BaseModel):
    """What the archive holds.

    model     the fingerprint of the model that reads it; None for plain coding alone
    exact     whether the code is the same on every machine
    levels    values are integers in 0 .. levels - 1
    block     records of a block, but for the last one
    quality   1 to 100 of pictures that are coded with a loss; None for none
    """

    model_config = pydantic.ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    shape: list[int] = Field(min_length=1, max_length=8)
    levels: int = Field(ge=2, le=256)
    block: int = Field(ge=1, le=1 << 20)
    quality: int | None = Field(None, ge=1, le=100)
    model: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    family: str | None = Field(None, max_length=200)
    exact: bool = True
    inside: InsideModel | None = None
    machine: str | None = Field(None, max_length=200)
    by: str = Field("", max_length=200)
    data: str = Field("", max_length=4096)

    @property
    def dimensions(self) -> int:
        """Values of a record."""
        found = 1
        for side in self.shape:
            found *= side
        return found

    @pydantic.model_validator(mode="after")
    def _bounded(self) -> Header:
        if any(not 1 <= side <= 1 << 20 for side in self.shape) or self.dimensions * self.block > MAX_VALUES:
            raise ValueError("a block holds at most 2^26 values")
        return self


@dataclass(frozen=True)
class Block:
    """One block as stored. `content` is the CRC-32 of what it decodes to: the values, then the names."""

    index: int
    records: int
    coder: int
    names: bytes
    code: bytes
    content: int

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return _BLOCK.size + _CRC.size + len(self.names) + len(self.code)


@dataclass(frozen=True)
class End:
    """The end of an archive: what a complete one holds."""

    blocks: int
    records: int
    content: int


@dataclass(frozen=True)
class Problem:
    """Something in the file that is not what was written; `blocks` it costs, where that is known."""

    what: str


Part = Block | End | Problem


def write_start(file: BinaryIO, header: Header) -> None:
    """Write all that comes before the first block or the model."""
    text = header.model_dump_json(exclude_defaults=True).encode()
    version = LOSSLESS if header.quality is None else VERSION
    file.write(_START.pack(MAGIC, version, len(text), zlib.crc32(text)) + text)


def write_block(file: BinaryIO, block: Block) -> None:
    """Write a block."""
    head = (block.index, block.records, block.coder, len(block.names), len(block.code), block.content)
    body = block.names + block.code
    packed = _BLOCK.pack(_MARK, *head, zlib.crc32(body))
    file.write(packed + _CRC.pack(zlib.crc32(packed)) + body)


def write_end(file: BinaryIO, end: End) -> None:
    """Write the end."""
    packed = _END.pack(_LAST, end.blocks, end.records, end.content)
    file.write(packed + _CRC.pack(zlib.crc32(packed)))


def read_start(file: BinaryIO, where: str) -> Header:
    """Read all that comes before the first block or the model. Raises `DataError`."""
    start = file.read(_START.size)
    if len(start) < 10 or start[:8] != MAGIC:
        raise DataError(f"{where} is no archive of morphogen: it does not begin as one.")
    version = int.from_bytes(start[8:10], "little")
    if version > VERSION:
        raise DataError(
            f"{where} is an archive of version {version}, and this morphogen reads versions up to {VERSION}: install a"
            " newer morphogen."
        )
    if len(start) < _START.size or version < 1:
        raise DataError(f"{where}: the archive is cut off in its header, or damaged there.")
    _, _, length, crc = _START.unpack(start)
    text = file.read(length) if length <= MAX_HEADER else b""
    if len(text) != length or zlib.crc32(text) != crc:
        raise DataError(f"{where}: the header of the archive is damaged or cut off, and nothing in it can be read.")
    try:
        parse_json(text)
        return Header.model_validate_json(text)
    except (ValueError, pydantic.ValidationError) as error:
        said = error.errors(include_url=False)[0]["msg"] if isinstance(error, pydantic.ValidationError) else str(error)
        raise DataError(f"{where}: the header of the archive is not one ({one_line(said)}).") from None


def read_parts(file: io.BufferedIOBase | BinaryIO, header: Header) -> Iterator[Part]:
    """The blocks of an archive one by one, its end, and what is wrong with it, in the order of the file."""
    while True:
        at = file.tell()
        head = file.read(_BLOCK.size + _CRC.size)
        if not head:
            yield Problem("the archive is cut off: its end is missing")
            return
        if head[:4] == _LAST and (end := _end(head)) is not None:
            yield end
            if len(head) > _END.size + _CRC.size or file.read(1):
                yield Problem("something follows the end of the archive, and is not read")
            return
        found = _head(head, header)
        if found is None:
            file.seek(at)
            skipped = _find(file, header)
            if skipped is None:
                yield Problem(f"the archive is damaged or cut off from byte {at:,} on")
                return
            yield Problem(f"{skipped:,} bytes from byte {at:,} on are damaged")
            continue
        index, records, coder, n_names, n_code, content, crc = found
        body = file.read(n_names + n_code)
        if len(body) < n_names + n_code:
            yield Problem(f"block {index}: the archive is cut off in it")
            return
        if zlib.crc32(body) != crc:
            yield Problem(f"block {index} of {records} records is damaged")
            continue
        yield Block(index, records, coder, body[:n_names], body[n_names:], content)


def _head(head: bytes, header: Header) -> tuple[int, ...] | None:
    """The fields of a block's head; None where it is none, or asks for more than a block may hold."""
    if len(head) < _BLOCK.size + _CRC.size or head[:4] != _MARK:
        return None
    if _CRC.unpack(head[_BLOCK.size :])[0] != zlib.crc32(head[: _BLOCK.size]):
        return None
    _, index, records, coder, n_names, n_code, content, crc = _BLOCK.unpack(head[: _BLOCK.size])
    fits = 1 <= records <= header.block and coder in CODERS
    small = n_code <= 4 * MAX_VALUES and n_names <= MAX_VALUES
    return (index, records, coder, n_names, n_code, content, crc) if fits and small else None


def _end(head: bytes) -> End | None:
    packed, crc = head[: _END.size], head[_END.size : _END.size + _CRC.size]
    if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != zlib.crc32(packed):
        return None
    return End(*_END.unpack(packed)[1:])


def _find(file: io.BufferedIOBase | BinaryIO, header: Header) -> int | None:
    """Go to the next head that is whole, and tell how many bytes were passed over; None where there is none."""
    start, longest = file.tell(), _BLOCK.size + _CRC.size
    at, data = start, b""
    while True:
        more = file.read(_WINDOW)
        data += more
        place = 1 if at == start else 0
        while (place := _next_mark(data, place)) >= 0:
            head = data[place : place + longest]
            if len(head) < longest and more:
                break
            if _head(head, header) is not None or (head[:4] == _LAST and _end(head) is not None):
                file.seek(at + place)
                return at + place - start
            place += 1
        if not more:
            return None
        keep = place if place >= 0 else max(0, len(data) - 3)
        at, data = at + keep, data[keep:]


def _next_mark(data: bytes, place: int) -> int:
    found = [p for mark in (_MARK, _LAST) if (p := data.find(mark, place)) >= 0]
    return min(found, default=-1)
