"""Prepare records for a model, and turn its outputs into stored units."""

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
    """The first `n` records of a split (all for None), prepared like the model's training data.

    None for `split` is the test split, and all records of arrays that have no splits of their own.

    Raises `DataError` for a split that there is not, and as `data.load`.
    """
    check_numbers(n=n)
    given = all_as_test(source) if split is None else source
    return data.load(given, like=spec).split(split or "test").select(slice(0, n))


def as_stored(x: Tensor, spec: DataSpec) -> np.ndarray:
    """Turn model values (n, ...) into stored units; means of binary pictures stay between 0 and 1.

    All samples pass through here. Raises `NonFiniteError` for values that are not finite, because they would be black.
    """
    x = check_made(x.detach().cpu())
    if spec.table is not None:
        return spec.decode(x).numpy()  # where NaN is a missing cell
    return check_made(x.float().clamp(0, 1) if spec.kind == "binary" else spec.decode(x)).numpy()


def check_room(n: int, shape: Sequence[int]) -> None:
    """Raise `UsageError` if `n` records of this shape would not fit into memory, before the first one is made."""
    needed, free = 2 * 4 * n * math.prod(shape), available_bytes()  # chunks in float32, and all of them together
    if needed > free:
        raise UsageError(
            f"{n:,} records of shape {tuple(shape)} take {in_words(needed)} of memory, and there are {in_words(free)}:"
            " ask for fewer, or in several calls."
        )


def check_made(x: Tensor) -> Tensor:
    """Return the output (n, ...) of a network. Raises `NonFiniteError` that counts the records with bad values."""
    finite = x.reshape(len(x), -1).isfinite().all(1)
    if not finite.all():
        raise NonFiniteError(
            f"the network gave values that are no numbers for {int((~finite).sum()):,} of {len(x):,} records, so that"
            " nothing was written: try a smaller guidance or weight of words, a temperature or truncation nearer to 1,"
            " more steps, or --precision fp32."
        )
    return x
