"""`chunks`: many rows, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from morphogen.core.limits import check_numbers

P = ParamSpec("P")
T = TypeVar("T")
_MOST: ContextVar[int | None] = ContextVar("rows at a time", default=None)


def chunks(n: int, size: int, *, exactly: bool = False) -> Iterator[slice]:
    """Slices of at most `size` rows that cover `n` rows in order; the last one ends at `n`.

    Args:
        n: the number of rows, 0 or more.
        size: rows at a time, 1 or more; within `at_most` no more than that.
        exactly: `size` is a part of the result, so `at_most` does not count.

    Returns:
        slice(0, size), slice(size, 2 size), ..., slice(k size, n).

    Example:
        >>> [list(range(7))[rows] for rows in chunks(7, 3)]
        [[0, 1, 2], [3, 4, 5], [6]]
    """
    if size < 1:
        raise ValueError(f"expected rows at a time of 1 or more, got {size}.")
    most = None if exactly else _MOST.get()
    size = size if most is None else min(size, most)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


@contextmanager
def at_most(rows: int | None) -> Iterator[None]:
    """Within the block, `chunks` gives at most so many rows at a time; None changes nothing.

    Example:
        >>> with at_most(2):
        ...     [(rows.start, rows.stop) for rows in chunks(3, 100)]
        [(0, 2), (2, 3)]
    """
    if rows is None:
        yield
        return
    token = _MOST.set(rows)
    try:
        yield
    finally:
        _MOST.reset(token)


def limited(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function compute at most its argument `batch_size` rows together. Raises `UsageError` for less than 1."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        given: Any = kwargs.get("batch_size")
        check_numbers(batch_size=given)
        with at_most(given):
            return function(*args, **kwargs)

    return run
