"""Rows of a table as a judge reads them: one number for each cell, and what each column holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from morphogen.core.errors import DataError

Cells = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Layout:
    """What the columns of a table hold.

    names        (C,) the names of the columns
    sizes        (C,) the number of values of a category; 0 for a column of numbers
    resolutions  (C,) the grid of the numbers; 0 for real numbers and categories
    values       (C,) the values of a category as they are written; () for numbers
    target       the place of the column that is predicted from the others, or None
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    resolutions: tuple[float, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()
    target: int | None = None

    @property
    def numbers(self) -> list[int]:
        """The places of the columns of numbers."""
        return [c for c, size in enumerate(self.sizes) if not size]

    @property
    def categories(self) -> list[int]:
        """The places of the other columns."""
        return [c for c, size in enumerate(self.sizes) if size]

    def resolution(self, column: int) -> float:
        return self.resolutions[column] if self.resolutions else 0.0

    def named(self, column: int, code: int) -> str:
        """A value of a category as it is written."""
        values = self.values[column] if self.values else ()
        return values[code] if code < len(values) else str(code)


@dataclass(frozen=True, eq=False)
class Rows:
    """Cells (N, C) float64: numbers, the codes 0 .. size-1 of categories, and NaN for missing cells."""

    cells: Cells
    layout: Layout

    def __post_init__(self) -> None:
        """Raises `DataError` for another number of columns, infinite numbers, and codes out of range."""
        cells, layout = self.cells, self.layout
        if cells.ndim != 2 or cells.shape[1] != len(layout.sizes):
            raise DataError(f"a table of {len(layout.sizes)} columns got cells of shape {cells.shape}.")
        for c, size in enumerate(layout.sizes):
            known = cells[:, c][~np.isnan(cells[:, c])]
            if not np.isfinite(known).all():
                raise DataError(
                    f"column {layout.names[c]!r} holds infinite numbers: leave them out, or make them missing."
                )
            if size and len(known) and not (known.min() >= 0 and known.max() < size and (known == known.round()).all()):
                raise DataError(f"column {layout.names[c]!r} holds codes that are none of its {size} values.")

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: Any) -> Rows:
        """Some rows, by a slice, numbers or a mask."""
        return Rows(self.cells[rows], self.layout)

    def draw(self, n: int, rng: np.random.Generator) -> Rows:
        """`n` different rows, or all of them in a random order if there are no more."""
        return self.take(rng.permutation(len(self))[:n])

    def joined(self, other: Rows) -> Rows:
        """These rows and the other ones below."""
        return Rows(np.concatenate((self.cells, other.cells)), self.layout)
