"""What is compressed: records of any source as bytes and names, in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeGuard

import numpy as np
import torch

from morphogen.applications.compression.archives import Records
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.data.in_memory import AnyData
from morphogen.data.load import load
from morphogen.data.pieces import in_pieces

PIECE = 512  # records handed over together


def is_stream(data: Any) -> TypeGuard[Iterator[Any]]:
    """Whether data are an iterator of arrays, of which only a piece is in memory at a time."""
    return hasattr(data, "__next__")


def records_of(data: AnyData, like: DataSpec | None, split: str | None) -> tuple[DataSpec, Iterator[Records]]:
    """The description of records, and the records of a split, or all of them in the order of their source.

    An iterator of arrays (n, *shape) of bytes is taken as it comes, and a folder or an .npz file of pictures in pieces.
    Raises `DataError` for records that are no bytes.
    """
    if is_stream(data):
        return _of_stream(data, like)
    found = in_pieces(data, like, PIECE) if split is None else None
    if found is not None:
        return found.spec, found.pieces
    dataset = load(data, like=like)
    spec = like or dataset.spec
    chosen = [dataset.split(split)] if split is not None else list(dataset.splits.values())
    if any(records.stored.dtype != torch.uint8 for records in chosen) or spec.levels is None or spec.levels > 256:
        raise DataError(f"{dataset.spec.name}: archives hold values of at most 256 levels, and these are real numbers.")
    ids = torch.cat([records.ids for records in chosen])
    stored = torch.cat([records.stored for records in chosen])
    named = [records.names for records in chosen]
    names = None if any(n is None for n in named) else [name for n in named for name in n or ()]
    order = torch.arange(len(ids)) if split is not None else ids.argsort()

    def pieces() -> Iterator[Records]:
        for rows in order.split(PIECE):
            yield stored[rows].numpy(), None if names is None else [names[i] for i in rows.tolist()]

    return spec, pieces()


def _of_stream(data: Iterator[Any], like: DataSpec | None) -> tuple[DataSpec, Iterator[Records]]:
    first = _bytes(next(data, None), like)
    spec = like or DataSpec(name="stream", shape=tuple(first.shape[1:]), kind="continuous", levels=256)

    def pieces() -> Iterator[Records]:
        yield _fitting(first, spec), None
        for more in data:
            yield _fitting(_bytes(more, like), spec), None

    return spec, pieces()


def _bytes(piece: Any, like: DataSpec | None) -> np.ndarray:
    found = None if piece is None else np.asarray(piece)
    if found is None or found.dtype != np.uint8 or found.ndim < 2:
        came = "nothing" if found is None else f"{found.dtype} of shape {found.shape}"
        raise DataError(f"expected an iterator of arrays (n, *shape) of bytes, got {came}.")
    if like is not None and found.shape[1:] != like.shape and (1, *found.shape[1:]) == like.shape:
        found = found[:, None]
    return found


def _fitting(piece: np.ndarray, spec: DataSpec) -> np.ndarray:
    levels = spec.levels or 256
    if piece.shape[1:] != spec.shape or (len(piece) and int(piece.max()) >= levels):
        raise DataError(
            f"expected records of shape {spec.shape} with values of 0 to {levels - 1}, got {piece.shape[1:]} with"
            f" values of up to {int(piece.max())}."
        )
    return piece
