"""`chunks`: many rows, some at a time."""

from collections.abc import Iterator


def chunks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows that cover `n` rows in order; the last one ends at `n`.

    Args:
        n: the number of rows, 0 or more.
        size: rows at a time, 1 or more.

    Returns:
        slice(0, size), slice(size, 2 size), ..., slice(k size, n).

    Example:
        >>> [list(range(7))[rows] for rows in chunks(7, 3)]
        [[0, 1, 2], [3, 4, 5], [6]]
    """
    if size < 1:
        raise ValueError(f"expected rows at a time of 1 or more, got {size}.")
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
