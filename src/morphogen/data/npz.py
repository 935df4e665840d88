"""A user's .npz file.

Either `images` or `x` for all records, with `labels`, `class_names`, `split` and `captions` if wanted; or
`train_images`, `test_images`, `validation_images` and the like, each with its `train_labels`, ... (`val`
is read as validation, `y` as labels, and `x_train` as `train_x`). Where there is none of these, `samples` or
`arr_0`, as other programs write them, are the records. Bytes keep their 256 levels, booleans are binary, and
floating-point arrays are real numbers of any shape. Arrays without a meaning are not read, and listed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import DataError, nearest
from morphogen.core.printable import listed
from morphogen.data.array_file import ArrayFile
from morphogen.data.arrays import pictures_from
from morphogen.data.labels import class_numbers, texts
from morphogen.data.options import Options
from morphogen.data.picture_files.reading import to_bytes
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw
from morphogen.data.records import Problem
from morphogen.data.split import SPLIT_NAMES, split_of

_WHAT = {"images": "x", "x": "x", "labels": "labels", "y": "labels", "captions": "captions"}
_KNOWN = (*_WHAT, "class_names", "split")
_OF_OTHERS = ("samples", "arr_0")  # what other programs call the records that they made
_MAX_SPLITS = 20

# split ("" if the arrays are not apart) -> "x", "labels", "captions" -> name in the file
Parts = dict[str, dict[str, str]]


def read(path: Path, options: Options) -> Raw:
    """All records: those of train, validation and test in this order where they lie apart."""
    with ArrayFile(path) as file:
        try:
            parts, notes = _parts(file)
            used = [name for part in parts.values() for name in part.values()]
            if any("labels" in part for part in parts.values()) and "class_names" in file.names:
                used.append("class_names")
            if "" in parts and "split" in file.names:
                used.append("split")
            unused = [name for name in file.names if name not in used]
            if unused:
                notes.append(f"{path.name} holds arrays that are not used: {listed(unused)}")
            raw = _raw(file.read(used), parts, options)
        except DataError as error:
            if str(error).startswith(path.name):
                raise
            raise DataError(f"{path.name}: {error}") from None
    return dataclasses.replace(raw, notes=notes + _on_classes(raw))


def of_arrays(arrays: Mapping[str, np.ndarray], options: Options) -> Raw:
    """The same of arrays in memory, by the names that they would have in a file."""
    parts, notes = _parts(_Given(arrays))
    raw = _raw(arrays, parts, options)
    return dataclasses.replace(raw, notes=notes + _on_classes(raw))


def arrays_of_records(file: ArrayFile) -> list[str]:
    """The names of the arrays that hold records, in the order in which `read` gives them. Raises `DataError`."""
    return [part["x"] for part in _parts(file)[0].values()]


class _Given:
    """Arrays in memory with the interface that `_parts` needs."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.names = list(arrays)
        self._arrays = arrays

    def described(self) -> str:
        return listed([f"{name} {array.shape}" for name, array in self._arrays.items()])


def _on_classes(raw: Raw) -> list[str]:
    """Labels that no record has, or records that have no label, where either would go unseen."""
    if raw.labels is None:
        return []
    there = set(raw.labels[raw.labels >= 0].tolist())
    empty = [name for k, name in enumerate(raw.classes) if k not in there]
    unknown = len(raw.labels) - int((raw.labels >= 0).sum())
    notes = [f"{len(empty):,} of {len(raw.classes):,} classes have no record: {listed(empty, 5)}"] * bool(empty)
    return notes + [f"the class of {unknown:,} of {len(raw.labels):,} records is not known"] * bool(unknown)


def _parts(file: ArrayFile | _Given) -> tuple[Parts, list[str]]:
    """Find the role of each array, and notes for the user."""
    found: Parts = {}
    for name in file.names:
        split, what = _meaning(name)
        if what is None:
            close = [] if name in _KNOWN else nearest(name, _KNOWN, 1)
            if close:
                raise DataError(f"does not know the array {name!r}; did you mean {close[0]!r}?")
            continue
        if what in found.setdefault(split, {}):
            raise DataError(f"{name!r} and {found[split][what]!r} mean the same; keep one of them.")
        found[split][what] = name
    parts = {s: found[s] for s in ("", "train", "validation", "test") if "x" in found.get(s, {})}
    other = next((name for name in _OF_OTHERS if name in file.names), None)
    if not parts and other is not None:
        return {"": {**found.get("", {}), "x": other}}, [f"the array {other} is taken for the records"]
    if not parts or ("" in parts and len(parts) > 1):
        raise DataError(
            f"expected an array `images` or `x`, or `train_images`, `test_images`, ...; found {file.described()}."
        )
    return parts, []


def _meaning(name: str) -> tuple[str, str | None]:
    if name in _WHAT:
        return "", _WHAT[name]
    first, _, second = name.partition("_")
    split, what = (first, second) if first in SPLIT_NAMES else (second, first)
    return SPLIT_NAMES.get(split, ""), _WHAT.get(what) if split in SPLIT_NAMES else None


def _raw(arrays: Mapping[str, np.ndarray], parts: Parts, options: Options) -> Raw:
    x = _joined(arrays, parts, "x")
    assert x is not None
    n = len(x)
    split = None if "" in parts else [s for s, p in parts.items() for _ in range(len(arrays[p["x"]]))]
    labels = _joined(arrays, parts, "labels")
    captions = _joined(arrays, parts, "captions")
    for name, values in {"split": arrays.get("split"), "labels": labels, "captions": captions}.items():
        if values is not None and (values.ndim == 0 or len(values) != n):
            raise DataError(f"{name} has {len(values) if values.ndim else 1} entries for {n} records.")
    if "split" in arrays:
        split = _splits(arrays["split"])
    numbers, classes = (None, ()) if labels is None else class_numbers(labels, arrays.get("class_names"))
    raw = Raw(
        *_stored(x, options),
        split=split,
        labels=numbers,
        classes=classes,
        captions=None if captions is None else texts(captions, "captions"),
    )
    if raw.levels is not None:
        return raw
    bad = ~torch.isfinite(raw.stored).flatten(1).all(dim=1)
    names = [f"{p['x']}[{i}]" for p in parts.values() for i in range(len(arrays[p["x"]]))]
    return raw.without(bad, [Problem(names[i], "holds NaN or infinite values") for i in bad.nonzero()[:, 0].tolist()])


def _splits(values: np.ndarray) -> list[str]:
    """The split of each record, by the names that people use."""
    named = texts(values, "split")
    if "" in named:
        raise DataError(f"split[{named.index('')}] is empty; name the split of every record, such as train or test.")
    different = sorted(set(named))
    if len(different) > _MAX_SPLITS:
        raise DataError(f"split has {len(different):,} different names, expected a few: {listed(different)}.")
    return [split_of(name) or name for name in named]


def _joined(arrays: Mapping[str, np.ndarray], parts: Parts, what: str) -> np.ndarray | None:
    """The arrays of all splits in one; all of them or none must be there, and agree in shape and kind."""
    there = {s: p[what] for s, p in parts.items() if what in p}
    if not there:
        return None
    if len(there) < len(parts):
        raise DataError(f"has {what} for {', '.join(there)} but not for {', '.join(parts.keys() - there.keys())}.")
    found = {name: arrays[name] for name in there.values()}
    if (what == "x" and any(a.ndim == 0 for a in found.values())) or len({a.shape[1:] for a in found.values()}) > 1:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in found.items())
        raise DataError(f"expected records of one shape in every split, got {shapes}.")
    if len({"text" if a.dtype.kind in "SU" else what == "x" and a.dtype for a in found.values()}) > 1:
        types = ", ".join(f"{name} {a.dtype}" for name, a in found.items())
        raise DataError(f"expected values of one type in every split, got {types}.")
    return next(iter(found.values())) if len(found) == 1 else _concatenated(list(found.values()))


def _concatenated(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """In one; bytes beside text are read as UTF-8 first, which numpy would take for ASCII."""
    if {a.dtype.kind for a in arrays} == {"S", "U"}:
        arrays = [np.char.decode(a, "utf-8") if a.dtype.kind == "S" else a for a in arrays]
    return np.concatenate(arrays)


def _stored(x: np.ndarray, options: Options) -> tuple[Tensor, int | None]:
    """(N, *shape) and its levels. Raises `DataError` for values that cannot be what they seem."""
    if x.dtype.kind not in "buif":
        raise DataError(f"expected numbers, got an array of type {x.dtype}.")
    if len(x) and not x.size:
        raise DataError(f"the records hold no values: their shape is {x.shape[1:]}.")
    is_picture = x.ndim == 3 or (x.ndim == 4 and (x.shape[1] in (1, 3, 4) or x.shape[3] in (1, 3, 4)))
    if x.dtype.kind in "ui":
        low, high = (int(x.min()), int(x.max())) if x.size else (0, 0)
        if is_picture and options.bits and high > 255 and low >= 0 and not high >> options.bits:
            x = np.stack([to_bytes(one.astype(np.int32), options.bits) for one in x])
        elif low < 0 or high > 255:
            deep = is_picture and low >= 0 and high < 1 << 16
            cure = f"give their range, such as bits={high.bit_length()}" if deep else "scale them"
            raise DataError(
                f"holds integers from {low} to {high}, expected 0 to 255; {cure}, or store real numbers as float32."
            )
    if x.dtype.kind != "f" and is_picture:
        levels = 2 if x.dtype.kind == "b" else 256
        return prepared(pictures_from(x.astype(np.uint8)), options, levels), levels
    if options.size or options.resize != "error" or options.channels != "auto":
        raise DataError("size, resize and channels are for pictures of bytes, not for other arrays.")
    if x.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is reported
            values = torch.from_numpy(x.astype(np.float32))
        if is_picture:
            values = pictures_from(values.numpy())
        return values.reshape(len(x), *values.shape[1:] or (1,)), None
    return torch.from_numpy(x.astype(np.uint8)), 2 if x.dtype.kind == "b" else 256
