"""Records as a user sees them, and the data and models that they come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen import artifact, data
from morphogen.core.data_spec import DataSpec, TextSchema
from morphogen.core.errors import NonFiniteError, UsageError
from morphogen.core.family import Family
from morphogen.core.limits import check_numbers
from morphogen.core.memory import available_bytes, in_words
from morphogen.training.distributed import resolve_device


@dataclass(frozen=True)
class Pictures:
    """Records that a model made or saw: `x` (n, *shape) in stored units (0 .. 255 for 8-bit pictures),
    as means where a model gives means; what they are; their record ids and labels where they have any; and what is to
    be said about how they were asked for."""

    x: np.ndarray
    spec: DataSpec
    ids: np.ndarray | None = None
    labels: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


def load_data(source: str, reader: TextSchema | None = None) -> data.Dataset:
    """The records of a source, in memory. Raises `DataError` that names what cannot be read.

    Captions are read by the tokenizer of `reader`; without one, they teach their own.
    """
    return data.load(source, tokenizer=reader)


def load_model(model: Path | str, device: str = "cpu") -> artifact.Artifact:
    """A model as a module (`.family`, in evaluation mode) with what is known about it. Raises `ArtifactError`."""
    return artifact.load(model, resolve_device(device))


def inspect(source: str) -> data.Inspection:
    """What is in a source: its DataSpec, class balance, exact duplicates, unusable records."""
    return data.inspect(source)


def load_like(source: str, spec: DataSpec) -> data.Dataset:
    return data.load(source, like=spec)


def records_of(source: str, spec: DataSpec, split: str, n: int | None) -> data.Records:
    """The first `n` records of a split (all for None), prepared as the model's data were."""
    check_numbers(n=n)
    return load_like(source, spec).split(split).select(slice(0, n))


def pictures_of(records: data.Records, x: np.ndarray) -> Pictures:
    return Pictures(x, records.spec, records.ids.numpy(), None if records.labels is None else records.labels.numpy())


def as_stored(x: Tensor, spec: DataSpec) -> np.ndarray:
    """Model values (n, ...) in stored units; means of binary pictures stay between 0 and 1.

    All that is drawn comes through here. Raises `NonFiniteError` where values are no numbers: they would be black.
    """
    x = check_made(x.detach().cpu())
    return check_made(x.float().clamp(0, 1) if spec.kind == "binary" else spec.decode(x)).numpy()


def check_room(n: int, shape: Sequence[int]) -> None:
    """Raise `UsageError` where `n` made records of this shape would not fit into memory, before the first is made."""
    needed, free = 2 * 4 * n * math.prod(shape), available_bytes()  # parts in float32, and all of them in one
    if needed > free:
        raise UsageError(
            f"{n:,} records of shape {tuple(shape)} take {in_words(needed)} of memory, and there are {in_words(free)}:"
            " ask for fewer, or in several calls."
        )


def check_made(x: Tensor) -> Tensor:
    """What a network made, (n, ...). Raises `NonFiniteError` that counts the records with NaN or infinite values."""
    finite = x.reshape(len(x), -1).isfinite().all(1)
    if not finite.all():
        raise NonFiniteError(
            f"the network gave values that are no numbers for {int((~finite).sum()):,} of {len(x):,} records, so that"
            " nothing was written: try a smaller guidance or weight of words, a temperature or truncation nearer to 1,"
            " more steps, or --precision fp32."
        )
    return x


def device_of(family: Family) -> torch.device:
    return next(family.parameters()).device
