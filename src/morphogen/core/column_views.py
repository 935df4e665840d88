"""The two views of the cells of a table, with their inverses.

Real view, x (B, W) in [-1, 1]. Column j owns x[:, table.slices[j]].

    a number        [g(v)], or [g(v), m] where cells may be missing; m = 1 for missing, g = 0 there, else m = -1
    other columns   one element for each value, and one for missing: 1 for what the cell is, -1 for the others

With F the distribution function of `Column.knots`, Phi that of the standard normal, and c = 3.5,

    g(v) = Phi^-1(Phi(-c) + F(v) (Phi(c) - Phi(-c))) / c

takes the support to [-1, 1] and the training values to about N(0, 1 / c^2). With a resolution r, a cell owns the
interval from g(v - r/2) to g(v + r/2) and is shown as its middle in probability, or, with `dither` u, as the point
F(v - r/2) + u (F(v + r/2) - F(v - r/2)). Then, where f = F' is constant between knots,

    log g'(v) = log f(v) + log(Phi(c) - Phi(-c)) - log phi(c g(v)) - log c.

Codes, (B, C) int64: the place in `values`, or the bin among `Column.edges`; the last one is missing, where it may be.
Within its bin a number is uniform on the multiples of r, or with r = 0 on the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.columns import Table

C = 3.5  # where the normal distribution is cut off
_TAIL = 0.5 * math.erfc(C / math.sqrt(2.0))  # Phi(-c)
_MASS = 1.0 - 2.0 * _TAIL


@dataclass(frozen=True)
class _Ladder:
    """Rising numbers of several columns and the shares below them, both (J, K + 1), padded with infinity."""

    points: Tensor
    levels: Tensor
    pieces: Tensor  # (J,) K of each column

    @classmethod
    def of(cls, rows: list[tuple[tuple[float, ...], tuple[float, ...]]], device: torch.device) -> _Ladder:
        sizes = [len(points) for points, _ in rows]
        padded = torch.full((2, len(rows), max(sizes, default=2)), math.inf, dtype=torch.float64)
        for j, both in enumerate(rows):
            padded[:, j, : sizes[j]] = torch.tensor(both, dtype=torch.float64)
        points, levels = padded.to(device)
        return cls(points, levels, torch.tensor([n - 1 for n in sizes], dtype=torch.int64, device=device))

    def piece(self, v: Tensor, of: Tensor | None = None) -> Tensor:
        """(B, J) the piece in which each of v (B, J) lies."""
        found = torch.searchsorted(self.points if of is None else of, v.mT.contiguous(), right=True).mT - 1
        return torch.minimum(found.clamp_min(0), self.pieces - 1)

    def ends(self, piece: Tensor, of: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two ends of each piece."""
        rows, at = self.points if of is None else of, piece.mT
        return rows.gather(1, at).mT, rows.gather(1, at + 1).mT

    def share(self, v: Tensor) -> Tensor:
        """F(v) in [0, 1], (B, J)."""
        piece = self.piece(v)
        (low, high), (below, above) = self.ends(piece), self.ends(piece, self.levels)
        return (below + (v - low) / (high - low) * (above - below)).clamp(0.0, 1.0)

    def value(self, share: Tensor) -> Tensor:
        """The inverse of `share`."""
        piece = self.piece(share, self.levels)
        (low, high), (below, above) = self.ends(piece), self.ends(piece, self.levels)
        return low + (share - below) / (above - below) * (high - low)

    def density(self, v: Tensor) -> Tensor:
        """f(v) = F'(v), (B, J)."""
        piece = self.piece(v)
        (low, high), (below, above) = self.ends(piece), self.ends(piece, self.levels)
        return (above - below) / (high - low)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where things lie in both views, as tensors on one device. J columns are numbers, the others have values.

    numbers, places  (J,) and (C - J,) the columns
    at, flag         (J,) the elements of g and m in the real view; where no cell is missing, flag is -1
    start, count     (C - J,) the first element of each block, and how many values there are
    low, high        (J,) the range; step, per (J,) the resolution as a fraction, step 0 for real numbers
    """

    numbers: Tensor
    places: Tensor
    at: Tensor
    flag: Tensor
    start: Tensor
    count: Tensor
    low: Tensor
    high: Tensor
    step: Tensor
    per: Tensor
    has_missing: Tensor  # (C,) bool
    codes: Tensor  # (C,) number of codes, that of a missing cell included
    quantiles: _Ladder
    bins: _Ladder

    @property
    def resolution(self) -> Tensor:
        """(J,)."""
        return self.step / self.per

    def rounded(self, v: Tensor) -> Tensor:
        """v (B, J) brought to the nearest multiple of the resolution within the range.

        Real numbers are brought to nine digits of their range, so that a value that many records hold comes back.
        """
        grid = (v * self.per / self.step.clamp_min(1.0)).round() * self.step / self.per
        digits = 10.0 ** (8.0 - (self.high - self.low).clamp_min(1e-300).log10().floor())
        return torch.where(self.step > 0, grid, (v * digits).round() / digits).clamp(self.low, self.high)


def layout(table: Table, device: torch.device | str = "cpu") -> Layout:
    """The `Layout` of a table, made once for each device."""
    kept: dict[str, Layout] = table.__dict__.setdefault("_layouts", {})  # beside its fields, as cached properties are
    if str(device) not in kept:
        kept[str(device)] = _layout(table, torch.device(device))
    return kept[str(device)]


def _layout(table: Table, device: torch.device) -> Layout:
    columns = table.columns
    starts = [part.start for part in table.slices]
    numbers = [j for j, column in enumerate(columns) if column.is_number]
    places = [j for j, column in enumerate(columns) if not column.is_number]

    def integers(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    def reals(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    return Layout(
        numbers=integers(numbers),
        places=integers(places),
        at=integers([starts[j] for j in numbers]),
        flag=integers([starts[j] + 1 if columns[j].has_missing else -1 for j in numbers]),
        start=integers([starts[j] for j in places]),
        count=integers([len(columns[j].values) for j in places]),
        low=reals([columns[j].low for j in numbers]),
        high=reals([columns[j].high for j in numbers]),
        step=reals([columns[j].step[0] for j in numbers]),
        per=reals([columns[j].step[1] for j in numbers]),
        has_missing=torch.tensor([column.has_missing for column in columns], device=device),
        codes=integers(list(table.codes)),
        quantiles=_Ladder.of([columns[j].quantiles for j in numbers], device),
        bins=_Ladder.of([(columns[j].edges, columns[j].edges) for j in numbers], device),
    )


def real_view(table: Table, cells: Tensor, dither: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """The real view of cells.

    Args:
        table: the schema.
        cells: (B, C) float64, NaN where missing.
        dither: (B, C) in [0, 1], where in the interval of its value each number is shown; None: in the middle.
        dtype: of the result.

    Returns:
        x (B, W) in [-1, 1].
    """
    plan = layout(table, cells.device)
    x = torch.full((len(cells), table.width), -1.0, dtype=torch.float64, device=cells.device)
    v, absent = cells[:, plan.numbers], cells[:, plan.numbers].isnan()
    below, above = shares(table, cells)
    u = (below + above) / 2.0 if dither is None else below + dither[:, plan.numbers] * (above - below)
    x[:, plan.at] = torch.where(absent, 0.0, score(u))
    flagged = plan.flag >= 0
    x[:, plan.flag[flagged]] = torch.where(absent[:, flagged], 1.0, -1.0).to(v.dtype)
    place = cells[:, plan.places]
    missing = place.isnan()
    place = torch.where(missing, plan.count.double(), place).long()
    shown = ~missing | plan.has_missing[plan.places]  # a missing cell of a column without them has no element
    rows, which = shown.nonzero(as_tuple=True)
    x[rows, (plan.start + place)[rows, which]] = 1.0
    return x.to(dtype)


def cells_of(table: Table, x: Tensor) -> Tensor:
    """The cells that a real view shows: the largest element of a block, the sign of m, g^-1 brought to the resolution.

    Args:
        table: the schema.
        x: (B, W), any real numbers.

    Returns:
        (B, C) float64, NaN where missing.
    """
    plan = layout(table, x.device)
    x = x.double()
    cells = torch.empty(len(x), len(table.columns), dtype=torch.float64, device=x.device)
    v = plan.rounded(plan.quantiles.value(share_of(x[:, plan.at])))
    absent = (plan.flag >= 0) & (x[:, plan.flag.clamp_min(0)] > 0.0)
    cells[:, plan.numbers] = torch.where(absent, math.nan, v)
    for j, column in enumerate(table.columns):
        if not column.is_number:
            place = x[:, table.slices[j]].argmax(1)
            cells[:, j] = torch.where(place == len(column.values), math.nan, place.double())
    return cells


def codes_of(table: Table, cells: Tensor) -> Tensor:
    """The codes of cells.

    Args:
        table: the schema.
        cells: (B, C) float64, NaN where missing.

    Returns:
        (B, C) int64, each below `table.codes`.
    """
    plan = layout(table, cells.device)
    absent = cells.isnan()
    codes = cells.nan_to_num(0.0).long()
    codes[:, plan.numbers] = plan.bins.piece(cells[:, plan.numbers].nan_to_num(0.0))
    return torch.where(absent, plan.codes - 1, codes)


def cells_of_codes(table: Table, codes: Tensor, dither: Tensor | None = None) -> Tensor:
    """Cells of the given codes.

    Args:
        table: the schema.
        codes: (B, C) int64.
        dither: (B, C) in [0, 1): where in its bin each number lies. Uniform noise makes it uniform among the multiples
            of the resolution, or on the interval. None: the middle.

    Returns:
        (B, C) float64, NaN where missing.
    """
    plan = layout(table, codes.device)
    cells = codes.double()
    bins = torch.minimum(codes[:, plan.numbers], plan.bins.pieces - 1)
    low, high = plan.bins.ends(bins)
    u = torch.full_like(low, 0.5) if dither is None else dither[:, plan.numbers].double().clamp(0.0, 1.0 - 1e-12)
    cells[:, plan.numbers] = plan.rounded(low + u * (high - low))
    return torch.where((codes == plan.codes - 1) & plan.has_missing, math.nan, cells)


def log_within_bins(table: Table, codes: Tensor) -> Tensor:
    """(B, C) the log-probability of a value within its bin: -log of the multiples of the resolution in it.

    For real numbers it is -log of the bin's width, a log-density; for other columns and missing cells it is 0.
    """
    plan = layout(table, codes.device)
    low, high = plan.bins.ends(torch.minimum(codes[:, plan.numbers], plan.bins.pieces - 1))
    count = torch.where(plan.step > 0, ((high - low) / plan.resolution).round(), high - low)
    found = torch.zeros(codes.shape, dtype=torch.float64, device=codes.device)
    found[:, plan.numbers] = -count.log()
    return torch.where((codes == plan.codes - 1) & plan.has_missing, 0.0, found)


def shares(table: Table, cells: Tensor) -> tuple[Tensor, Tensor]:
    """(B, J) twice: F at both ends of the interval of each number; NaN where missing, equal for real numbers."""
    plan = layout(table, cells.device)
    v, half = cells[:, plan.numbers], plan.resolution / 2.0
    absent = v.isnan()
    v = v.nan_to_num(0.0).clamp(plan.low, plan.high)
    below, above = (plan.quantiles.share(v + s * half) for s in (-1.0, 1.0))
    return torch.where(absent, math.nan, below), torch.where(absent, math.nan, above)


def intervals(table: Table, cells: Tensor) -> tuple[Tensor, Tensor]:
    """(B, J) twice: the interval in [-1, 1] that each number owns in the real view.

    NaN where missing; the two ends are equal for real numbers.
    """
    below, above = shares(table, cells)
    return score(below), score(above)


def log_slope(table: Table, cells: Tensor) -> Tensor:
    """(B, J) log g'(v), the log-Jacobian of the quantile map at each number; NaN where missing.

    It turns a log-density of g(v) into one of v, which numbers of resolution 0 need.
    """
    plan = layout(table, cells.device)
    v = cells[:, plan.numbers]
    absent = v.isnan()
    v = v.nan_to_num(0.0).clamp(plan.low, plan.high)
    z = C * score(plan.quantiles.share(v))
    log_normal = -0.5 * z.square() - 0.5 * math.log(2.0 * math.pi)
    slope = plan.quantiles.density(v).log() + math.log(_MASS) - log_normal - math.log(C)
    return torch.where(absent, math.nan, slope)


def score(share: Tensor) -> Tensor:
    """Phi^-1(Phi(-c) + u (Phi(c) - Phi(-c))) / c in [-1, 1], for u in [0, 1]."""
    u = _TAIL + torch.minimum(share, 1.0 - share) * _MASS  # from the nearer end, where u has more digits
    z = torch.special.ndtri(u) / C
    return torch.where(share > 0.5, -z, z).clamp(-1.0, 1.0)


def share_of(score: Tensor) -> Tensor:
    """The inverse of `score`; what lies outside [-1, 1] is taken for the nearer end."""
    z = score.double().clamp(-1.0, 1.0) * C
    low = ((torch.special.ndtr(-z.abs()) - _TAIL) / _MASS).clamp(0.0, 0.5)
    return torch.where(z > 0.0, 1.0 - low, low)
