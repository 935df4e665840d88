"""Data that a program holds already: arrays, tensors, pictures, data frames and datasets of `torch`, as named arrays.

The names are those of an .npz file (`data/npz.py`): x, labels, class_names, captions, split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from morphogen.core.errors import DataError
from morphogen.core.printable import listed
from morphogen.data.picture_files.reading import decode_image
from morphogen.data.records import Dataset
from morphogen.data.tables.reading import all_in_split, is_frame

AnyData = str | Path | Dataset | Mapping[str, Any] | Sequence[Any] | np.ndarray | torch.Tensor | Any
_LABELS = ("label", "labels", "class", "target")  # columns of a data frame that hold classes


def is_source(data: AnyData) -> bool:
    """Whether these data are named by a source, and not given themselves."""
    return isinstance(data, str | Path)


def named_arrays(data: AnyData) -> dict[str, np.ndarray]:
    """Turn given data into named arrays.

    Args:
        data: an array or tensor of records (N, ...); a pair (records, labels); a mapping of names to arrays; a list of
            PIL images; a data frame of numbers, whose column `label` holds classes; or a `torch` dataset whose items
            are records or pairs (record, label).

    Returns:
        The arrays, with the records under "x".

    Raises:
        DataError: it is none of these, or its records differ in shape.
    """
    if isinstance(data, Mapping):
        return {str(name): _array(value, str(name)) for name, value in data.items() if value is not None}
    if isinstance(data, np.ndarray | torch.Tensor):
        return {"x": _array(data, "x")}
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return _of_frame(data)
    if isinstance(data, tuple) and len(data) == 2 and all(map(_is_many, data)) and len(data[0]) == len(data[1]):
        return {"x": _array(data[0], "records"), "labels": _array(data[1], "labels")}
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return _of_items([data[i] for i in range(len(data))])
    raise DataError(
        f"cannot take records from {type(data).__name__}: give a source such as 'digits', a folder, an array (N, ...),"
        " (records, labels), a mapping of arrays, PIL images, a data frame of numbers or a torch dataset."
    )


def _of_items(items: Sequence[Any]) -> dict[str, np.ndarray]:
    """Records one by one, or tuples of a record and its label, or of a record alone."""
    if not items:
        raise DataError("there are no records: the data in memory are empty.")
    if not all(isinstance(item, tuple) and len(item) in (1, 2) and _is_many(item[0]) for item in items):
        return {"x": _stacked(items)}
    if {len(item) for item in items} == {1}:
        return {"x": _stacked([item[0] for item in items])}
    if any(len(item) != 2 or _is_many(item[1]) for item in items):
        raise DataError("expected pairs (record, label) with a name or a number as the label of each.")
    return {"x": _stacked([item[0] for item in items]), "labels": np.array([_plain(item[1]) for item in items])}


def _is_many(value: Any) -> bool:
    """Whether this is a record or several, and no single number or name."""
    if isinstance(value, str | bytes):
        return False
    return bool(getattr(value, "ndim", isinstance(value, Image.Image) or hasattr(value, "__len__")))


def all_as_test(data: AnyData) -> AnyData:
    """Arrays without splits of their own as records of one split, "test"; sources and `Dataset`s as they are."""
    if is_source(data) or isinstance(data, Dataset):
        return data
    if is_frame(data):
        return all_in_split(data, "test")
    arrays = named_arrays(data)
    records = next((arrays[name] for name in ("x", "images") if name in arrays), None)
    return arrays if records is None or "split" in arrays else {**arrays, "split": np.full(len(records), "test")}


def _stacked(records: Sequence[Any]) -> np.ndarray:
    """(N, ...) of records of one shape. Raises `DataError` that names the first that differs."""
    arrays = [_pixels(r) if isinstance(r, Image.Image) else _array(r, "a record") for r in records]
    for i, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise DataError(f"record {i} has shape {array.shape}, record 0 {arrays[0].shape}: bring all to one shape.")
    return np.stack(arrays)


def _pixels(image: Image.Image) -> np.ndarray:
    """(C, H, W) in 8 bits, with the colors of a palette; values of more bits as they are, (H, W)."""
    return np.asarray(image) if image.mode[0] in "IF" else decode_image(image).numpy()


def _of_frame(frame: Any) -> dict[str, np.ndarray]:
    """A data frame (pandas, polars or another with `columns` and `to_numpy`) of numbers, and its classes."""
    columns = [str(name) for name in frame.columns]
    label = next((name for name in columns if name.lower() in _LABELS), None)
    arrays = {name: np.asarray(frame[name]) for name in columns}
    words = [name for name in columns if name != label and arrays[name].dtype.kind not in "buif"]
    if words:
        raise DataError(f"the columns {listed(words)} hold no numbers: leave them out, or encode them.")
    numbers = [arrays[name].astype(np.float32) for name in columns if name != label]
    if not numbers:
        raise DataError("the data frame has no column of numbers.")
    found = {"x": np.stack(numbers, axis=1)}
    if label is not None:
        classes = arrays[label]
        found["labels"] = classes if classes.dtype.kind in "buif" else classes.astype(str)
    return found


def _array(value: Any, what: str) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DataError(f"{what}: expected an array of one shape ({error}).") from None
    if array.dtype == object:
        raise DataError(f"{what}: expected numbers or text in an array of one shape, got Python objects.")
    return array


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic | torch.Tensor) else label
