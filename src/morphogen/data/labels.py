"""Read texts and class labels from arrays. Bytes are UTF-8, numbers are whole, and other values are errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import DataError, nearest
from morphogen.core.printable import listed, one_line

MAX_NUMBERED = 10_000  # classes without names: a larger label is an id, a hash or -1 without its sign


def texts(values: np.ndarray, name: str) -> list[str]:
    """A text each, from text (N,) or (N, 1), or from bytes in UTF-8. Raises `DataError` for anything else."""
    values = column(values, name, "texts")
    if values.dtype.kind not in "SU":
        raise DataError(f"{name} must be texts (N,), got {values.dtype} {values.shape}.")
    found = []
    for i in range(len(values)):
        try:
            text = values[i]
            text = text.decode() if isinstance(text, bytes) else str(text)
            text.encode()
        except ValueError:  # no UTF-8, or half a surrogate pair
            raise DataError(f"{name}[{i}] is no text: bytes must be UTF-8, and characters whole.") from None
        found.append(text)
    return found


def column(values: np.ndarray, name: str, what: str) -> np.ndarray:
    """(N,) from (N,) or (N, 1). Raises `DataError` for another shape."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        of = "class" if name == "class_names" else "record"
        raise DataError(f"{name} must be {what}, one a {of} (N,), got {values.dtype} {values.shape}.")
    return values


def class_numbers(labels: np.ndarray, names: np.ndarray | None, name: str = "labels") -> tuple[Tensor, tuple[str, ...]]:
    """(N,) int64 class numbers, -1 where not known, and the names of the classes.

    Labels are positions in `names`, or names themselves. Without `names`, the classes are the numbers or the texts that
    occur, in order, so that 1950 and 2024 are two classes of these names. An empty text is a class that is not known.

    Raises `DataError` that names the record for what is neither.
    """
    labels = column(labels, name, "whole numbers or names")
    known = None if names is None else _checked(names)
    if labels.dtype.kind in "SU":
        return _named(texts(labels, name), known, name)
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels) & (np.abs(labels) < 2.0**53)
        whole[whole] = labels[whole] == np.round(labels[whole])
        if not whole.all():
            at = int(np.argmin(whole))
            raise DataError(
                f"labels must be whole numbers or names (N,), -1 where not known; got {labels.dtype} with"
                f" {name}[{at}] = {labels[at]}."
            )
    elif labels.dtype.kind not in "bui":
        raise DataError(f"labels must be whole numbers or names (N,), got {labels.dtype} {labels.shape}.")
    return _numbered(labels, known, name)


def _numbered(labels: np.ndarray, known: Sequence[str] | None, name: str) -> tuple[Tensor, tuple[str, ...]]:
    present = np.unique(labels)
    if not len(labels):
        return torch.zeros(0, dtype=torch.int64), tuple(known or ())
    low, high = int(present[0]), int(present[-1])
    most = max(MAX_NUMBERED, len(labels)) if known is None else len(known)
    if low < -1 or high >= most:
        at = int(np.argmin(labels)) if low < -1 else int(np.argmax(labels))
        if known is not None:
            rest = f" for the {len(known)} class_names; expected 0 to {len(known) - 1} (-1 where not known)."
        elif low < -1:
            rest = "; expected 0 or more (-1 where not known)."
        else:
            rest = (
                f" for {len(labels):,} records and {len(present):,} different values: give names with class_names, or"
                " number the classes from 0."
            )
        raise DataError(f"labels go from {low} to {high} ({name}[{at}]){rest}")
    numbers = torch.from_numpy(labels.astype(np.int64))
    if known is not None:
        return numbers, tuple(known)
    occurring = present[present >= 0].astype(np.int64)
    positions = np.searchsorted(occurring, labels.astype(np.int64))
    positions[numbers.numpy() < 0] = -1
    return torch.from_numpy(positions.astype(np.int64)), tuple(str(k) for k in occurring.tolist())


def _named(labels: list[str], known: Sequence[str] | None, name: str) -> tuple[Tensor, tuple[str, ...]]:
    classes = sorted(set(labels) - {""}) if known is None else list(known)
    numbers: dict[str, Any] = {c: k for k, c in enumerate(classes)} | {"": -1}
    strange = next((i for i, label in enumerate(labels) if label not in numbers), None)
    if strange is not None:
        close = nearest(labels[strange], classes, 1)
        hint = f"did you mean {_quoted(close[0])}?" if close else f"they are {listed(classes)}."
        raise DataError(f"label {_quoted(labels[strange])} ({name}[{strange}]) is not among class_names: {hint}")
    return torch.tensor([numbers[label] for label in labels], dtype=torch.int64), tuple(classes)


def _checked(names: np.ndarray) -> list[str]:
    """The names of classes: texts, or whole numbers, none empty and none twice."""
    names = column(names, "class_names", "texts")
    found = [str(k) for k in names.tolist()] if names.dtype.kind in "ui" else texts(names, "class_names")
    if "" in found:
        raise DataError(f"class_names[{found.index('')}] is empty; give every class a name.")
    if len(set(found)) < len(found):
        twice = next(c for i, c in enumerate(found) if c in found[:i])
        raise DataError(f"class_names has {_quoted(twice)} twice; give every class a name of its own.")
    return found


def _quoted(name: str) -> str:
    shown = one_line(name)
    return f"'{shown if len(shown) <= 60 else shown[:57] + '...'}'"
