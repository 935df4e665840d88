"""Read untrusted .npz files. Every size is checked before memory is allocated, and nothing is unpickled.

An .npz file is a zip file whose members are .npy files: a header in words (type, order, shape), then the values. Three
sizes must agree: that of type and shape, that of the member by the zip file's directory, and what deflate can unpack at
most from its packed bytes, 1032 to 1. What is left of memory must hold them. Only the arrays that are asked for are
read, all others are known by name alone.
"""

from __future__ import annotations

import ast
import io
import math
import os
import stat
import struct
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from morphogen.core.errors import DataError
from morphogen.core.memory import available_bytes, in_words
from morphogen.core.printable import one_line

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # bytes, as numpy; plain arrays need about a hundred
_MAX_DIRECTORY = 4 << 20  # bytes of a zip file's directory, which is some ten thousand members
_DEFLATE = 1032  # what deflate can unpack at most from one byte
_CHUNK = 1 << 20
_COPIES = 3  # of an array on its way to records: as read, in its final type, by splits
_PER_RECORD = 200  # bytes that each record costs beside its values
_SHOWN = 12  # arrays that a message lists
_KINDS = "buifSU"  # booleans, whole numbers, real numbers, bytes, text


@dataclass(frozen=True)
class Header:
    """The header of a member: type, order and shape of its values; `start` is the length of the header in bytes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class ArrayFile:
    """An open .npz file. `names` are its members, without the suffix .npy.

    Raises `DataError`, in words, whatever else the file turns out to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = _regular(path)
        except OSError as error:
            raise DataError(f"{_shown(path.name)} cannot be read ({error.strerror}).") from None
        try:
            self._zip = self._opened()
            members = [(name.removesuffix(".npy"), self._zip.NameToInfo[name]) for name in self._zip.namelist()]
            twice = [name for name, count in Counter(name for name, _ in members).items() if count > 1]
            if twice:
                raise self.error(f"it holds more than one array called {_shown(twice[0])!r}; keep one of them")
            self._members = dict(members)
        except BaseException:
            self._file.close()
            raise
        self.names = list(self._members)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()
        self._file.close()

    def error(self, what: str) -> DataError:
        return DataError(f"{_shown(self.path.name)} cannot be read as .npz: {what}.")

    def described(self, names: Iterable[str] | None = None) -> str:
        """Arrays by name and shape, as far as they can be read; the first few of a long list."""
        names = self.names if names is None else list(names)
        said = []
        for name in names[:_SHOWN]:
            try:
                said.append(f"{_shown(name)} {self.header(name).shape}")
            except DataError:
                said.append(_shown(name))
        if len(names) > _SHOWN:
            said.append(f"and {len(names) - _SHOWN:,} more")
        return ", ".join(said) or "none"

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The arrays of these names in the machine's own byte order, after all of them have been checked."""
        headers = {name: self.header(name) for name in names}
        records = max((h.shape[0] for h in headers.values() if h.shape), default=0)
        needed = _COPIES * sum(h.nbytes for h in headers.values()) + _PER_RECORD * records
        if needed > (there := available_bytes()):
            raise DataError(
                f"{_shown(self.path.name)} does not fit into memory: {self.described(headers)} need about"
                f" {in_words(needed)}, and {in_words(there)} are left."
            )
        return {name: self._values(name, header) for name, header in headers.items()}

    def pieces(self, name: str, records: int) -> Iterator[np.ndarray]:
        """An array of bytes in pieces of so many records, of which one at a time is in memory.

        Raises `DataError` where it is no array of bytes, in the order of C.
        """
        header = self.header(name)
        if header.dtype != np.uint8 or header.fortran or len(header.shape) < 2:
            raise self.error(f"its member {_shown(name)} is no array of bytes that can be read in pieces")
        size = math.prod(header.shape[1:])
        try:
            with self._zip.open(self._members[name]) as member:
                _skip(member, header.start)
                for start in range(0, header.shape[0], records):
                    n = min(records, header.shape[0] - start)
                    raw = bytearray()
                    while len(raw) < n * size:
                        part = member.read(min(_CHUNK, n * size - len(raw)))
                        if not part:
                            raise EOFError("it ends too early")
                        raw += part
                    yield np.frombuffer(raw, np.uint8).reshape(n, *header.shape[1:])
                member.read(1)  # at the end the sum is compared
        except _BROKEN as error:
            raise self._broken(name, error) from None

    def header(self, name: str) -> Header:
        """What the member `name` says that it holds. Raises `DataError` where that is no plain array, or not true."""
        info, shown = self._members[name], _shown(name)
        if info.flag_bits & 0x1:
            raise self.error(f"its member {shown} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.error(
                f"its member {shown} is packed by method {info.compress_type}; save it with numpy.savez or"
                " numpy.savez_compressed"
            )
        try:
            with self._zip.open(info) as member:
                header = _header(member)
        except _NotAnArray as error:
            raise self.error(f"its member {shown} {error}") from None
        except _BROKEN as error:
            raise self._broken(name, error) from None
        claimed, there = header.start + header.nbytes, info.file_size
        most = info.compress_size if info.compress_type == zipfile.ZIP_STORED else _DEFLATE * info.compress_size + 64
        if claimed != there:
            raise self.error(f"its member {shown} claims {in_words(claimed)} in {in_words(there)}")
        if there > most or info.compress_size > self._size:
            raise self.error(
                f"its member {shown} claims {in_words(there)} in a file of {in_words(self._size)}, which cannot hold"
                " so much"
            )
        return header

    def _values(self, name: str, header: Header) -> np.ndarray:
        try:
            raw, at = np.empty(header.nbytes, np.uint8), 0
            with self._zip.open(self._members[name]) as member:
                _skip(member, header.start)
                while at < len(raw):
                    part = member.read(min(_CHUNK, len(raw) - at))
                    if not part:
                        raise EOFError("it ends too early")
                    raw[at : at + len(part)] = np.frombuffer(part, np.uint8)
                    at += len(part)
                member.read(1)  # at the end the sum is compared
            values = raw.view(header.dtype)
            shaped = values.reshape(header.shape[::-1]).T if header.fortran else values.reshape(header.shape)
        except _BROKEN as error:
            raise self._broken(name, error) from None
        shaped = shaped.astype(header.dtype.newbyteorder("="), copy=False)
        if (
            shaped.dtype.kind == "U"
            and shaped.size
            and np.ascontiguousarray(shaped).view(np.uint32).max() > sys.maxunicode
        ):
            raise self.error(f"its member {_shown(name)} holds characters beyond Unicode")  # numpy would fail on them
        return shaped

    def _broken(self, name: str, error: BaseException) -> DataError:
        return self.error(f"its member {_shown(name)} is damaged ({_shown(str(error)) or type(error).__name__})")

    def _opened(self) -> zipfile.ZipFile:
        self._size = os.fstat(self._file.fileno()).st_size
        start = self._file.read(len(_MAGIC))
        self._file.seek(0)
        if start == _MAGIC:
            raise self.error("it is a single array; save it with numpy.savez(FILE, x=...)")
        try:
            return zipfile.ZipFile(self._file)
        except _BROKEN as error:
            raise self.error(f"it is no zip file, or a damaged one ({_shown(str(error))})") from None


class _NotAnArray(Exception):
    """Completes the sentence "its member x ..."."""


# Whatever zipfile, zlib and numpy make of bytes that are not what they expect.
_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    OverflowError,
    RuntimeError,  # with NotImplementedError and RecursionError
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class _Sparing(io.FileIO):
    """A file that is never read in larger pieces than a zip file's directory may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = _MAX_DIRECTORY + 1
        data = super().read(most if size is None or size < 0 else min(size, most)) or b""
        if len(data) > _MAX_DIRECTORY:
            raise ValueError("its directory is too large")
        return data


def _regular(path: Path) -> _Sparing:
    """Opened without waiting, which a pipe would have one do. Raises `DataError` for what is no regular file."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    file = _Sparing(os.open(path, flags))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise DataError(f"{_shown(path.name)} is no regular file.")
    return file


def _header(member: Any) -> Header:
    """The header of an .npy file, versions 1 to 3 (`numpy.lib.format`)."""
    start = member.read(8)
    if len(start) < 8 or not start.startswith(_MAGIC):
        raise _NotAnArray("is no array")
    if start[6] not in (1, 2, 3):
        raise _NotAnArray(f"is an array of format {start[6]}.{start[7]}, and formats 1 to 3 are known")
    form = "<H" if start[6] == 1 else "<I"
    (length,) = struct.unpack(form, member.read(struct.calcsize(form)))
    if length > _MAX_HEADER:
        raise _NotAnArray(f"has a header of {in_words(length)}, and plain arrays have at most {in_words(_MAX_HEADER)}")
    text = member.read(length)
    if len(text) < length:
        raise EOFError("its header ends too early")
    said = _literal(text.decode("utf-8" if start[6] == 3 else "latin1"))
    if not isinstance(said, dict) or set(said) != {"descr", "fortran_order", "shape"}:
        raise _NotAnArray("has a header that says no type, order and shape")
    shape, fortran = said["shape"], said["fortran_order"]
    if not isinstance(shape, tuple) or not all(type(side) is int and 0 <= side < 1 << 62 for side in shape):
        raise _NotAnArray(f"has the shape {_shown(repr(shape))}, expected numbers of at least 0")
    if not isinstance(fortran, bool):
        raise _NotAnArray(f"says fortran_order {_shown(repr(fortran))}, expected True or False")
    return Header(_dtype(said["descr"]), shape, fortran, 8 + struct.calcsize(form) + length)


def _literal(text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise _NotAnArray("has a header that cannot be read") from None


def _dtype(descr: Any) -> np.dtype[Any]:
    shown = _shown(repr(descr))
    if not isinstance(descr, str):
        raise _NotAnArray(f"has records with fields of their own ({shown}); save each field as an array")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dtype = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError, MemoryError, OverflowError):
        raise _NotAnArray(f"has values of a type {shown} that this computer does not know") from None
    if dtype.hasobject:
        raise _NotAnArray("holds Python objects, which could run code and are not read; save plain numbers and strings")
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise _NotAnArray(f"has values of the type {shown}; expected numbers, or text")
    return dtype


def _skip(member: Any, length: int) -> None:
    while length:
        part = member.read(length)
        if not part:
            raise EOFError("it ends too early")
        length -= len(part)


def _shown(text: str) -> str:
    """Foreign text on one line and of bounded length."""
    text = one_line(text)
    return text if len(text) <= 80 else f"{text[:77]}..."
