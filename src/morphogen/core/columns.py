"""`Table`: the schema of a table, one `Column` each, with what both of its views (`column_views.py`) need.

A table is kept as cells (N, C) in float64: the number itself, seconds since 1970 for dates and times, the place in
`values` for categories, and NaN where a cell is missing.

A number of resolution r > 0 is a multiple of r. The value v stands for the interval [v - r/2, v + r/2], so its
distribution function F is continuous: F(knots[k]) = levels[k], with straight lines between the knots. A value that many
records share, such as 0, has a piece of its own. With r = 0 a value is a point.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import pydantic
from numpy.typing import ArrayLike

from morphogen.core.spec import Spec

ColumnType = Literal["number", "integer", "category", "ordinal", "boolean", "datetime"]
NUMERIC: frozenset[str] = frozenset({"number", "integer", "datetime"})
MAX_COLUMNS = 4096
MAX_VALUES = 4096  # the most values of one category
MAX_WIDTH = 1 << 16  # the most elements of a record in the real view
MAX_BINS = 128  # the most codes of a column of numbers, and the most pieces of its distribution function
FEW = 5  # a value that fewer records hold is rare


class Column(Spec):
    """One column of a table.

    values      of a category, an ordinal or a boolean: its values as they are written, in their order
    low, high   the smallest and the largest number
    resolution  numbers are multiples of it: 0.1, 1, 86400 (a day); 0: any real number
    knots       (K + 1) increasing quantiles of the training values, from low - resolution / 2 to high + resolution / 2
    levels      (K + 1) the shares of the training values below the knots, from 0 to 1; (): equal steps
    missing     the share of missing cells
    format      how its cells are written: "%Y-%m-%d", "0.0" (with a decimal), "0,0" (with a decimal comma) or ""
    public      its range or its values were given by hand, and say nothing about the records
    rare        the places in `values` that fewer than five training records hold
    common      beyond this range lie fewer than five training records on either side; None: it is not known
    """

    most_values = MAX_VALUES
    name: str
    type: ColumnType
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    resolution: float = pydantic.Field(default=0.0, ge=0.0)
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    missing: float = pydantic.Field(default=0.0, ge=0.0, le=1.0)
    format: str = ""
    public: bool = False
    rare: tuple[int, ...] = ()
    common: tuple[float, float] | None = None

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Column:
        said = f"column {self.name[:100]!r}"
        if not self.is_number:
            if not self.values or len(set(self.values)) < len(self.values):
                raise ValueError(f"{said} of type {self.type!r} needs values, each once")
            if any(not 0 <= place < len(self.values) for place in self.rare):
                raise ValueError(f"{said}: rare gives places among its {len(self.values)} values")
            return self
        if self.values:
            raise ValueError(f"{said} of type {self.type!r} takes a range and no values")
        if not self.low < self.high and not (self.low == self.high and self.resolution):
            raise ValueError(f"{said}: low must be below high (got {self.low:g} and {self.high:g})")
        if self.common is not None and not self.low <= self.common[0] <= self.common[1] <= self.high:
            raise ValueError(f"{said}: common must be a range within {self.low:g} to {self.high:g}")
        if self.knots or self.levels:
            self._check_knots(said)
        return self

    def _check_knots(self, said: str) -> None:
        ends = self.support
        slack = 1e-9 * (ends[1] - ends[0])
        if not _rises(self.knots) or any(abs(self.knots[i] - ends[i]) > slack for i in (0, -1)):
            raise ValueError(f"{said}: knots must rise from {ends[0]:g} to {ends[1]:g}")
        if self.levels and not (
            _rises(self.levels) and len(self.levels) == len(self.knots) and self.levels[0] == 0 and self.levels[-1] == 1
        ):
            raise ValueError(f"{said}: levels must rise from 0 to 1, one for each knot")

    @property
    def is_number(self) -> bool:
        """Whether its cells are numbers (or dates), and not places among values."""
        return self.type in NUMERIC

    @property
    def has_missing(self) -> bool:
        """Whether a cell may be missing."""
        return self.missing > 0.0

    @property
    def support(self) -> tuple[float, float]:
        """The interval that its values stand for: half a step of the resolution wider than low to high."""
        return self.low - self.resolution / 2.0, self.high + self.resolution / 2.0

    @cached_property
    def quantiles(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The knots and their levels; where there are none, those of a uniform distribution on the support."""
        knots = self.knots or self.support
        return knots, self.levels or tuple(k / (len(knots) - 1) for k in range(len(knots)))

    @property
    def step(self) -> tuple[int, int]:
        """The resolution as a fraction, so that multiples of 0.1 are rounded correctly; (0, 1) for real numbers."""
        return Fraction(repr(self.resolution)).as_integer_ratio()

    @property
    def width(self) -> int:
        """Number of elements in the real view."""
        return (1 if self.is_number else len(self.values)) + self.has_missing

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """The edges of the bins that are the codes of a number.

        If at most 128 multiples of the resolution lie in the range, each has a bin. Otherwise the knots are the edges,
        moved to the middle between two multiples of the resolution.
        """
        low, high = self.support
        r = self.resolution
        if r and round((high - low) / r) <= MAX_BINS:
            return (*(low + r * i for i in range(round((high - low) / r))), high)
        knots = np.asarray(self.quantiles[0])
        if len(knots) < MAX_BINS // 2:  # of a range given by hand, for one
            knots = np.interp(np.linspace(0, len(knots) - 1, MAX_BINS + 1), np.arange(len(knots)), knots)
        edges = low + r * np.round((knots - low) / r) if r else knots.copy()
        edges[0], edges[-1] = low, high
        return tuple(np.unique(edges).tolist())

    @property
    def n_codes(self) -> int:
        """Number of codes, the one of a missing cell included."""
        return (len(self.edges) - 1 if self.is_number else len(self.values)) + self.has_missing


class LeftOut(Spec):
    """A column that is not modeled, and why; `value` is written back where every row has the same."""

    name: str
    reason: str
    value: str | None = None


class Table(Spec):
    """The schema of a table.

    columns   the columns that are modeled, in the order of the source
    target    the column that predictions are about
    group     the column whose values name what rows belong together, such as a patient; it is not modeled
    split     the column that says which split a row belongs to; it is not modeled
    left_out  the columns that are neither modeled nor written
    rules     conditions that hold in every row: "age >= 18", "start <= end", "a + b == total", "fixed: state, country"
    combinations  for each rule "fixed: ...", the combinations of cells that the training rows have
    order     the names of all columns of the source, in its order
    """

    most_values = MAX_COLUMNS
    columns: tuple[Column, ...]
    target: str | None = None
    group: str | None = None
    split: str | None = None
    left_out: tuple[LeftOut, ...] = ()
    rules: tuple[str, ...] = ()
    combinations: tuple[tuple[tuple[float, ...], ...], ...] = ()
    order: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _possible(self) -> Table:
        names = self.names
        if not names or len(set(names)) < len(names):
            raise ValueError("a table needs columns, each name once")
        if self.target is not None and self.target not in names:
            raise ValueError(f"the target {self.target[:100]!r} is none of the columns")
        if self.width > MAX_WIDTH:
            raise ValueError(f"a record has {self.width:,} elements, more than {MAX_WIDTH:,}: group its rare values")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that are modeled."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        return self.columns[self.names.index(name)]

    @cached_property
    def width(self) -> int:
        """W, number of elements of a record in the real view."""
        return sum(column.width for column in self.columns)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The elements of each column in the real view."""
        found, at = [], 0
        for column in self.columns:
            found.append(slice(at, at + column.width))
            at += column.width
        return tuple(found)

    @property
    def codes(self) -> tuple[int, ...]:
        """Number of codes of each column, the one of a missing cell included."""
        return tuple(column.n_codes for column in self.columns)


def quantiles_of(values: ArrayLike, resolution: float = 0.0) -> dict[str, tuple[float, ...]]:
    """The `knots` and `levels` of a column with these training values.

    A value that at least t of the N records hold has a piece of its own. The other values are pooled in order, at least
    t a piece. t is the smallest number from 5 on that gives at most 128 pieces. So no piece between others tells of
    fewer than five records, and values with much mass, such as 0 or 99999, keep it.

    Args:
        values: (N,) finite numbers, N >= 1; with resolution 0 at least two different ones.
        resolution: of the column.

    Returns:
        {"knots": (K + 1), "levels": (K + 1)}.
    """
    v, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    half = resolution / 2.0 or 5e-10 * float(v[-1] - v[0])
    least = FEW
    while True:
        heavy = counts >= least
        if heavy.sum() <= MAX_BINS:
            ends, masses = _pieces(v, counts, heavy, least, half)
            if len(masses) <= MAX_BINS:
                break
        least += max(1, least // 8)
    if not resolution:
        ends[0], ends[-1] = v[0], v[-1]
    below = np.concatenate(([0.0], np.cumsum(np.maximum(masses, 0.05))))  # an empty piece keeps a little
    return {"knots": _rising(ends, half * 1e-3), "levels": tuple((below / below[-1]).tolist())}


def _pieces(
    v: np.ndarray, counts: np.ndarray, heavy: np.ndarray, least: int, half: float
) -> tuple[np.ndarray, np.ndarray]:
    """The ends (K + 1) of the pieces, and how many records (K) lie in each."""
    ends, masses = [v[0] - half], list[float]()
    places = [*np.flatnonzero(heavy).tolist(), len(v)]
    start = 0
    for place in places:
        last = place == len(v)
        end = v[-1] + half if last else v[place] - half
        if place > start:  # lighter values before this heavy one, or at the end
            below = np.cumsum(counts[start:place])
            closing = _closing(below, least)
            ends += [*_between(v[start:place], closing, half), end]
            masses += np.diff(np.concatenate(([0], below[closing], below[-1:]))).tolist()
        elif not last and end > ends[-1]:  # nothing lies between two heavy values
            ends.append(end)
            masses.append(0.0)
        if not last:
            ends.append(v[place] + half)
            masses.append(float(counts[place]))
        start = place + 1
    return np.array(ends), np.array(masses)


def _between(v: np.ndarray, closing: list[int], half: float) -> list[float]:
    """The middles between the values that close a pool and those after them, moved to the end of a value's interval."""
    last, following = v[closing], v[[place + 1 for place in closing]]
    steps = np.floor((following - last) / (4.0 * half))
    return (last + half * (2.0 * steps + 1.0)).tolist()


def _closing(below: np.ndarray, least: int) -> list[int]:
    """The places of the values that close a pool; `below` (n) counts records up to each value. The last one is open."""
    found: list[int] = []
    done = 0
    while len(found) <= MAX_BINS:  # which are too many pools already
        place = int(np.searchsorted(below, done + least))
        if place >= len(below) or below[-1] - below[place] < least:
            break
        found.append(place)
        done = int(below[place])
    return found


def _rises(numbers: tuple[float, ...]) -> bool:
    return len(numbers) >= 2 and all(a < b for a, b in pairwise(numbers))


def _rising(knots: np.ndarray, gap: float) -> tuple[float, ...]:
    """The numbers with neighbors at least `gap` apart, and the same ends."""
    steps, last = gap * np.arange(len(knots)), knots[-1]
    up = np.maximum.accumulate(knots - steps) + steps  # ties are spread upwards, and at the upper end downwards
    return tuple(np.minimum(up, last - steps[::-1]).tolist())
