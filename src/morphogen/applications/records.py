"""Records between a model and a person: split by split as the model's data were, and in stored units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from morphogen import data
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import NonFiniteError, UsageError
from morphogen.core.limits import check_numbers
from morphogen.core.memory import available_bytes, in_words
from morphogen.data.in_memory import AnyData, all_as_test


def records_of(source: AnyData, spec: DataSpec, split: str | None, n: int | None) -> data.Records:
    """The first `n` records of a split (all for None), prepared as the model's data were.

    None for `split` is the test split, and all records of arrays that have no splits of their own.

    Raises `DataError` for a split that there is not, and as `data.load`.
    """
    check_numbers(n=n)
    given = all_as_test(source) if split is None else source
    return data.load(given, like=spec).split(split or "test").select(slice(0, n))


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
