"""A user's .npz file.

Either `images` or `x` for all records, with `labels`, `class_names`, `split` and `captions` if wanted; or
`train_images`, `test_images`, `validation_images` and the like, each with its `train_labels`, ... (`val`
is read as validation, `y` as labels, and `x_train` as `train_x`). Bytes keep their 256 levels, booleans
are binary, and floating-point arrays are real numbers of any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import DataError, nearest
from morphogen.data.arrays import pictures_from, read_arrays
from morphogen.data.options import Options
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw
from morphogen.data.records import Problem
from morphogen.data.split import SPLIT_NAMES

_WHAT = {"images": "x", "x": "x", "labels": "labels", "y": "labels", "captions": "captions"}
_KNOWN = (*_WHAT, "class_names", "split")

# split ("" if the arrays are not apart) -> "x", "labels", "captions" -> (name in the file, array)
Parts = dict[str, dict[str, tuple[str, np.ndarray]]]


def read(path: Path, options: Options) -> Raw:
    """All records: those of train, validation and test in this order where they lie apart."""
    arrays = read_arrays(path)
    try:
        return _raw(arrays, _parts(arrays), options)
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from None


def _parts(arrays: Mapping[str, np.ndarray]) -> Parts:
    found: Parts = {}
    for name, array in arrays.items():
        split, what = _meaning(name)
        if what is None:
            close = [] if name in _KNOWN else nearest(name, _KNOWN, 1)
            if close:
                raise DataError(f"does not know the array {name!r}; did you mean {close[0]!r}?")
            continue
        if what in found.setdefault(split, {}):
            raise DataError(f"{name!r} and {found[split][what][0]!r} mean the same; keep one of them.")
        found[split][what] = (name, array)
    parts = {s: found[s] for s in ("", "train", "validation", "test") if "x" in found.get(s, {})}
    if not parts or ("" in parts and len(parts) > 1):
        there = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none"
        raise DataError(f"expected an array `images` or `x`, or `train_images`, `test_images`, ...; found {there}.")
    return parts


def _meaning(name: str) -> tuple[str, str | None]:
    if name in _WHAT:
        return "", _WHAT[name]
    first, _, second = name.partition("_")
    split, what = (first, second) if first in SPLIT_NAMES else (second, first)
    return SPLIT_NAMES.get(split, ""), _WHAT.get(what) if split in SPLIT_NAMES else None


def _raw(arrays: Mapping[str, np.ndarray], parts: Parts, options: Options) -> Raw:
    x = _joined(parts, "x")
    assert x is not None
    n = len(x)
    split = None if "" in parts else [s for s, p in parts.items() for _ in range(len(p["x"][1]))]
    if split is None and "split" in arrays:
        split = [SPLIT_NAMES.get(str(s), str(s)) for s in arrays["split"]]
    labels = _joined(parts, "labels")
    captions = _joined(parts, "captions")
    for name, values in {"split": split, "labels": labels, "captions": captions}.items():
        if values is not None and len(values) != n:
            raise DataError(f"{name} has {len(values)} entries for {n} records.")
    numbers, classes = (None, ()) if labels is None else _classes(labels, arrays.get("class_names"))
    raw = Raw(
        *_stored(x, options),
        split=split,
        labels=numbers,
        classes=classes,
        captions=None if captions is None else [str(c) for c in captions],
    )
    if raw.levels is not None:
        return raw
    bad = ~torch.isfinite(raw.stored).flatten(1).all(dim=1)
    names = [f"{name}[{i}]" for p in parts.values() for name, a in [p["x"]] for i in range(len(a))]
    return raw.without(bad, [Problem(names[i], "holds NaN or infinite values") for i in bad.nonzero()[:, 0].tolist()])


def _joined(parts: Parts, what: str) -> np.ndarray | None:
    """The arrays of all splits in one; all of them or none must be there, and agree in shape."""
    there = {s: p[what] for s, p in parts.items() if what in p}
    if not there:
        return None
    if len(there) < len(parts):
        raise DataError(f"has {what} for {', '.join(there)} but not for {', '.join(parts.keys() - there.keys())}.")
    names, arrays = zip(*there.values(), strict=True)
    if any(a.ndim == 0 for a in arrays) or len({a.shape[1:] for a in arrays}) > 1:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in zip(names, arrays, strict=True))
        raise DataError(f"expected records of one shape in every split, got {shapes}.")
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _stored(x: np.ndarray, options: Options) -> tuple[Tensor, int | None]:
    """(N, *shape) and its levels. Raises `DataError` for values that cannot be what they seem."""
    if x.dtype.kind not in "buif":
        raise DataError(f"expected numbers, got an array of type {x.dtype}.")
    if x.dtype.kind in "ui":
        low, high = (int(x.min()), int(x.max())) if x.size else (0, 0)
        if low < 0 or high > 255:
            raise DataError(
                f"holds integers from {low} to {high}, expected 0 to 255; scale them, or store real numbers as float32."
            )
    is_picture = x.ndim == 3 or (x.ndim == 4 and (x.shape[1] in (1, 3, 4) or x.shape[3] in (1, 3, 4)))
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


def _classes(labels: np.ndarray, names: np.ndarray | None) -> tuple[Tensor, tuple[str, ...]]:
    """Class numbers and names; labels may be numbers (-1 where not known) or names."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "uiU":
        raise DataError(f"labels must be whole numbers or names (N,), got {labels.dtype} {labels.shape}.")
    if labels.dtype.kind == "U":
        classes = [str(c) for c in (np.unique(labels) if names is None else names)]
        strange = set(labels.tolist()) - set(classes)
        if strange:
            raise DataError(f"label {min(strange)!r} is not among class_names {', '.join(classes)}.")
        return torch.tensor([classes.index(c) for c in labels.tolist()]), tuple(classes)
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    classes = [str(c) for c in (range(high + 1) if names is None else names)]
    if low < -1 or high >= len(classes):
        raise DataError(f"labels go from {low} to {high}, expected 0 to {len(classes) - 1} (-1 where not known).")
    return torch.from_numpy(labels.astype(np.int64)), tuple(classes)
