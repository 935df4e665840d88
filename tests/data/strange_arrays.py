"""A builder of strange .npz files, each with what is expected of whoever reads it; and of random ones, without end.

`write_all(folder)` writes every known kind. `write_random(path, seed)` damages a good file: whatever comes of it, a
reader returns records or raises `DataError`, in little time and memory.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

N = 30  # records of every file that can be read


@dataclass(frozen=True)
class Strange:
    """A file, and words of the `DataError` that it gives; None: its N records are read, and equal `pictures`."""

    path: Path
    words: str | None

    @property
    def is_read(self) -> bool:
        return self.words is None


def pictures(*shape: int) -> np.ndarray:
    """(N, *shape) bytes, no two records alike."""
    return np.random.default_rng(0).integers(0, 256, (N, *shape), dtype=np.uint8)


def npy(array: np.ndarray, fortran: bool = False) -> bytes:
    out = io.BytesIO()
    np.save(out, np.asfortranarray(array) if fortran else array)
    return out.getvalue()


def claim(descr: str, shape: str, values: bytes = b"", *, fortran: str = "False", version: int = 1) -> bytes:
    """An .npy file whose header says what one wants; `descr` and `shape` as Python writes them."""
    return header(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}", version) + values


def header(text: str, version: int = 1) -> bytes:
    said = text.encode("utf-8") + b"\n"
    return b"\x93NUMPY" + bytes((version, 0)) + len(said).to_bytes(2 if version == 1 else 4, "little") + said


def zipped(path: Path, *members: tuple[str, bytes], packed: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", packed) as file:
        for name, data in members:
            file.writestr(name, data)


def patched(path: Path, at: int, value: bytes) -> None:
    """A field of the only member changed, by its place in the directory, there and in the member's own header."""
    raw = bytearray(path.read_bytes())
    start = raw.index(b"PK\x01\x02")
    raw[start + at : start + at + len(value)] = value
    if at >= 8:  # the fields lie 2 bytes earlier in the member's own header
        raw[at - 2 : at - 2 + len(value)] = value
    path.write_bytes(raw)


def bomb(path: Path, name: str, size: int) -> None:
    """`size` zeros, packed a thousand to one, in an array of bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open(f"{name}.npy", "w") as member:
        member.write(claim("'|u1'", f"({size},)"))
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))


_X = pictures(8, 8)
_GOOD = npy(_X)
_LABELS = np.arange(N) % 3


def _arrays(**arrays: object) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **{"images": _X, **arrays})  # type: ignore[arg-type]


def _members(*members: tuple[str, bytes], packed: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    return lambda path: zipped(path, *members, packed=packed)


def _x(data: bytes) -> Callable[[Path], None]:
    return _members(("x.npy", data))


def _patched(at: int, value: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        zipped(path, ("x.npy", _GOOD))
        patched(path, at, value)

    return write


def _bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def _lying(path: Path) -> None:
    """The header and the directory agree on 900 GB, of which the file has 2 kB."""
    zipped(path, ("x.npy", claim("'|u1'", "(900000000000,)", bytes(2000))))
    raw = bytearray(path.read_bytes())
    start = raw.index(b"PK\x01\x02")
    raw[start + 20 : start + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
    path.write_bytes(raw)


def _wrong_sum(path: Path) -> None:
    zipped(path, ("x.npy", _GOOD))
    raw = bytearray(path.read_bytes())
    raw[300] ^= 0xFF
    path.write_bytes(raw)


def _many(path: Path) -> None:
    zipped(path, ("x.npy", _GOOD), *((f"{i}-{'n' * 200}.npy", b"") for i in range(20_000)))


def _bomb_beside(path: Path) -> None:
    bomb(path, "notes", 64 << 20)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x.npy", _GOOD)


_READ: dict[str, Callable[[Path], None]] = {
    "plain": _x(_GOOD),
    "packed": _members(("x.npy", _GOOD), packed=zipfile.ZIP_DEFLATED),
    "fortran-order": _x(npy(_X, fortran=True)),
    "big-endian": _x(npy(_X.astype(">i4"))),
    "eight-bytes-each": _x(npy(_X.astype(np.int64))),
    "format-2": _x(claim("'|u1'", str(_X.shape), _X.tobytes(), version=2)),
    "format-3": _x(claim("'|u1'", str(_X.shape), _X.tobytes(), version=3)),
    "arr_0": _members(("arr_0.npy", _GOOD)),
    "samples": _members(("samples.npy", _GOOD)),
    "bomb-in-an-array-of-no-meaning": _bomb_beside,
    "objects-of-no-meaning": _arrays(seed=np.array(2**80), rows=np.array([[1], [1, 2]], dtype=object)),
    "text-of-no-meaning": _members(("x.npy", _GOOD), ("README", b"hello")),
    "labels-in-a-column": _arrays(labels=_LABELS[:, None]),
    "labels-as-floats": _arrays(labels=_LABELS.astype(np.float32)),
    "labels-as-booleans": _arrays(labels=_LABELS > 0),
    "labels-with-gaps": _arrays(labels=np.array([1950, 2024] * 15)),
    "labels-as-bytes": _arrays(labels=np.array([b"caf\xc3\xa9", b"bar"] * 15)),
    "names-as-bytes": _arrays(labels=_LABELS, class_names=np.array([b"a", b"b", b"c"])),
    "names-as-numbers": _arrays(labels=_LABELS, class_names=np.array([10, 20, 30])),
    "captions-as-bytes": _arrays(captions=np.array([f"a red café {i}".encode() for i in range(N)])),
    "captions-in-a-column": _arrays(captions=np.array([[f"a {i}"] for i in range(N)])),
    "split-as-bytes": _arrays(split=np.array([b"train", b"test"] * 15)),
}

_REFUSED: dict[str, tuple[str, Callable[[Path], None]]] = {
    "empty": ("no zip file", _bytes(b"")),
    "junk": ("no zip file", _bytes(b"junk" * 100)),
    "half": ("no zip file", lambda path: path.write_bytes(_whole()[:1000]) and None),
    "npy": ("it is a single array; save it with numpy.savez", _bytes(_GOOD)),
    "text-member": ("member x is no array", _members(("x", b"hello"))),
    "empty-member": ("member x is no array", _members(("x.npy", b""))),
    "encrypted": ("x is encrypted", _patched(8, b"\x01")),
    "method-99": ("x is packed by method 99", _patched(10, b"\x63")),
    "bzip2": ("x is packed by method 12", _members(("x.npy", _GOOD), packed=zipfile.ZIP_BZIP2)),
    "lzma": ("x is packed by method 14", _members(("x.npy", _GOOD), packed=zipfile.ZIP_LZMA)),
    "wrong-sum": ("x is damaged", _wrong_sum),
    "directory-lies": ("cannot be read as .npz", _lying),
    "directory-too-large": ("its directory is too large", _many),
    "twice": ("more than one array called 'x'", _members(("x.npy", _GOOD), ("x", _GOOD))),
    "claims-931-GiB": ("claims 931 GiB in", _x(claim("'|u1'", "(1000000000000,)", bytes(2000)))),
    "claims-long-texts": ("claims .* in 2", _x(claim("'<U99999999'", "(30, 8, 8)", bytes(2000)))),
    "claims-too-little": ("claims .* in", _x(claim("'|u1'", "(30,)", bytes(2000)))),
    "claims-nothing": ("hold no values", _x(claim("'|u1'", "(30, 0)"))),
    "claims-nothing-often": ("does not fit into memory", _x(claim("'|u1'", "(1000000000000, 0)"))),
    "claims-records-without-bytes": ("expected numbers, or text", _x(claim("'<U0'", "(1000000000000,)"))),
    "shape-of-true": (r"shape \(True, 8\)", _x(claim("'|u1'", "(True, 8)", bytes(8)))),
    "shape-below-zero": (r"shape \(-30, -8\)", _x(claim("'|u1'", "(-30, -8)", bytes(240)))),
    "shape-beyond-64-bits": ("expected numbers of at least 0", _x(claim("'|u1'", f"(0, {2**80})"))),
    "shape-of-many-sides": ("damaged|claims", _x(claim("'|u1'", f"({'1, ' * 90})", bytes(1)))),
    "shape-of-floats": ("expected numbers of at least 0", _x(claim("'|u1'", "(30.0, 8)", bytes(240)))),
    "shape-as-list": ("has the shape", _x(claim("'|u1'", "[30, 8]", bytes(240)))),
    "order-of-one": ("fortran_order", _x(claim("'|u1'", "(30, 8)", bytes(240), fortran="1"))),
    "type-of-fields": ("fields of their own", _x(claim("[('a', '<f4'), ('b', '<f4')]", "(30,)", bytes(240)))),
    "type-in-commas": ("expected numbers, or text", _x(claim("'f4,f4'", "(30,)", bytes(240)))),
    "type-of-objects": ("could run code", _x(claim("'|O'", "(30,)", b"cos\nsystem\n(S'true'\ntR."))),
    "type-of-times": ("expected numbers, or text", _x(claim("'<M8[s]'", "(30,)", bytes(240)))),
    "type-of-complex": ("expected numbers, or text", _x(claim("'<c8'", "(30,)", bytes(240)))),
    "type-unknown": ("does not know", _x(claim("'<q99'", "(30,)", bytes(240)))),
    "type-of-a-number": ("fields of their own", _x(claim("8", "(30,)", bytes(240)))),
    "header-of-code": ("header that cannot be read", _x(header("__import__('os').getcwd()"))),
    "header-nested": ("header that cannot be read", _x(header("(" * 5000))),
    "header-of-signs": ("header that cannot be read", _x(header("-" * 9000 + "1"))),
    "header-of-list": ("says no type, order and shape", _x(header("[1, 2]"))),
    "header-without-shape": ("says no type, order and shape", _x(header("{'descr': '|u1'}"))),
    "header-too-long": ("has a header of", _x(header("1" * 30_000))),
    "header-cut": ("x is damaged", _x(_GOOD[:40])),
    "format-9": ("an array of format 9.0", _x(claim("'|u1'", "(30,)", bytes(30), version=9))),
    "no-pictures": ("expected an array `images` or `x`", _members(("foo.npy", _GOOD))),
    "no-array": ("found none", _members()),
    "one-number": ("one shape in every split", _x(npy(np.float32(3)))),
    "texts-as-pictures": ("expected numbers", _x(npy(np.array(["a"] * N)))),
    "label-of-2-to-31": (r"labels go from 0 to 2147483648 \(labels\[29\]\)", _arrays(labels=[0] * 29 + [2**31])),
    "label-of-2-to-63": (r"\(labels\[29\]\)", _arrays(labels=np.array([0] * 29 + [2**63], np.uint64))),
    "label-of-minus-1-unsigned": (r"to 18446744073709551615", _arrays(labels=np.array([0] * 29 + [2**64 - 1], "u8"))),
    "label-below-minus-1": (r"from -7 .*\(labels\[4\]\)", _arrays(labels=[0] * 4 + [-7] + [1] * 25)),
    "label-of-a-half": (r"labels\[3\] = 0.5", _arrays(labels=[1.0] * 3 + [0.5] + [2.0] * 26)),
    "label-of-nan": (r"labels\[3\] = nan", _arrays(labels=[1.0] * 3 + [np.nan] + [2.0] * 26)),
    "label-infinite": (r"labels\[3\] = inf", _arrays(labels=[1.0] * 3 + [np.inf] + [2.0] * 26)),
    "label-beyond-the-names": (
        r"to 2 \(labels\[2\]\) for the 2 class_names",
        _arrays(labels=_LABELS, class_names=np.array(["a", "b"])),
    ),
    "names-in-one-text": ("class_names must be texts, one a class", _arrays(labels=_LABELS, class_names="abc")),
    "labels-one-hot": ("one a record", _arrays(labels=np.eye(3)[_LABELS])),
    "labels-of-objects": ("could run code", _arrays(labels=np.array([None] * N, dtype=object))),
    "labels-too-few": ("labels has 29 entries for 30 records", _arrays(labels=_LABELS[:-1])),
    "labels-of-one": ("labels has 1 entries for 30 records", _arrays(labels=3)),
    "labels-not-utf-8": (r"labels\[0\] is no text", _arrays(labels=np.array([b"\xff\xfe"] * N))),
    "names-twice": ("class_names has 'a' twice", _arrays(labels=_LABELS, class_names=np.array(["a", "b", "a"]))),
    "names-empty": (r"class_names\[1\] is empty", _arrays(labels=_LABELS, class_names=np.array(["a", "", "c"]))),
    "names-of-floats": ("class_names must be texts", _arrays(labels=_LABELS, class_names=np.array([0.5, 1.5, 2.5]))),
    "captions-of-numbers": ("captions must be texts", _arrays(captions=np.arange(N))),
    "captions-of-nan": ("captions must be texts", _arrays(captions=np.full(N, np.nan))),
    "captions-of-objects": ("could run code", _arrays(captions=np.array(["a", None] * 15, dtype=object))),
    "captions-not-utf-8": (r"captions\[0\] is no text", _arrays(captions=np.array([b"caf\xe9"] * N))),
    "captions-beyond-unicode": (
        "captions holds characters beyond Unicode",
        _members(("x.npy", _GOOD), ("captions.npy", claim("'<U1'", "(30,)", struct.pack("<I", 0x7FFFFFFF) * 30))),
    ),
    "captions-half-a-character": (
        r"captions\[0\] is no text",
        _members(("x.npy", _GOOD), ("captions.npy", claim("'<U1'", "(30,)", struct.pack("<I", 0xD83D) * 30))),
    ),
    "captions-in-a-table": ("captions must be texts, one a record", _arrays(captions=np.full((N, 2), "a"))),
    "split-of-numbers": ("split must be texts", _arrays(split=_LABELS)),
    "split-of-everyone": ("30 different names", _arrays(split=np.array([f"s{i}" for i in range(N)]))),
    "split-empty": (r"split\[0\] is empty", _arrays(split=np.array([""] * 29 + ["a"]))),
    "twelve-bits": ("integers from", _arrays(images=pictures(8, 8).astype(np.uint16) * 16)),
}


def _whole() -> bytes:
    out = io.BytesIO()
    np.savez(out, images=_X, labels=_LABELS, class_names=np.array(["a", "b", "c"]), captions=np.array(["a"] * N))
    return out.getvalue()


def names() -> tuple[str, ...]:
    """Of all known kinds."""
    return (*_READ, *_REFUSED)


def write(folder: Path, name: str) -> Strange:
    """The file of one kind, NAME.npz in `folder`."""
    path = folder / f"{name}.npz"
    words, how = _REFUSED[name] if name in _REFUSED else (None, _READ[name])
    how(path)
    return Strange(path, words)


def write_all(folder: Path) -> Iterator[Strange]:
    return (write(folder, name) for name in names())


def write_random(path: Path, seed: int) -> None:
    """A good file with some damage: bytes, pieces, headers of arrays, or fields of the directory."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        raw = bytearray(_whole())
        for _ in range(rng.randint(1, 8)):
            _damage(raw, rng)
        path.write_bytes(raw)
        return
    descr = rng.choice(
        ["'|u1'", "'<f4'", "'>i8'", "'<U3'", "'|S5'", "'|b1'", "'|O'", "'<f16'", "[('a', '<f4')]", "'V8'"]
    )
    shape = tuple(rng.choice([0, 1, 2, 3, 8, N, 10**6, 2**31, 2**63, -1]) for _ in range(rng.randint(0, 5)))
    data = claim(
        descr, str(shape), rng.randbytes(rng.choice([0, 10, 1920, 5000])), version=rng.choice([1, 1, 1, 2, 3, 4])
    )
    name = rng.choice(["x", "images", "labels", "captions", "class_names", "split"])
    other = {"images" if name != "images" else "y": _GOOD, name: data}
    zipped(path, *((f"{n}.npy", d) for n, d in other.items()), packed=rng.choice([0, 8, 8, 12, 14]))


def _damage(raw: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(raw))
    kind = rng.randrange(5)
    if kind == 0:
        raw[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del raw[at : at + rng.randrange(1, 64)]
    elif kind == 2:
        raw[at:at] = rng.randbytes(rng.randrange(1, 64))
    elif kind == 3:  # a field of the directory
        start = raw.rfind(b"PK\x01\x02")
        place = start + rng.randrange(46) if start >= 0 else at
        raw[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", bytes(4), rng.randbytes(4)])
    else:  # a digit of a header, with the sums made right again
        digits = [i for i in range(min(len(raw), 200)) if chr(raw[i]).isdigit()]
        if digits:
            raw[rng.choice(digits)] = ord(rng.choice("0123456789"))
            _mend(raw)


def _mend(raw: bytearray) -> None:
    """The first member's sum as its bytes are."""
    size = int.from_bytes(raw[18:22], "little")
    start = 30 + int.from_bytes(raw[26:28], "little") + int.from_bytes(raw[28:30], "little")
    total = zlib.crc32(raw[start : start + size]).to_bytes(4, "little")
    raw[14:18] = total
    first = raw.find(b"PK\x01\x02")
    if first >= 0:
        raw[first + 16 : first + 20] = total
