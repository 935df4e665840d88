r"""Integer frequencies of rounded latents: of k, where k steps from its location lies the nearest cell of a latent.

Integers in -2047 .. 2047 lie in 63 cells. Those up to 23 steps from 0 have one each; then cells of 8, 16, 32, ...
integers follow on both sides. A cell takes its mass from a table, and an integer in a cell of several takes digits of
equal frequency after it. In such a cell the true masses differ little, or the cell is as good as empty.

A logistic of scale s, a step of w and the edges e_i - 1/2 of the cells give masses F((e_{i+1} - 1/2) w / s) -
F((e_i - 1/2) w / s), from the integer table of the logistic function. For latents given hyper-latents, s / w is one of
72 values, a factor e^(1/8) apart. All is + - x / floor on numbers in float64, and so the same on every machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator

import torch
from torch import Tensor, nn

from morphogen.nn.integer.smooth import ONE, ExpTable, Smooth
from morphogen.nn.integer.tables import PRECISION, spread

LARGEST = 2047
_SINGLE, _WIDTHS = 23, (8, 16, 32, 64, 128, 256, 512, 1008)
_LOWEST, _FINE, LEVELS = -3.25, 8, 72  # log(s / w) = -3.25 + level / 8
_BASE = 32  # of the digits within a cell


def _starts() -> list[int]:
    """The least integer of each cell."""
    upper = list(itertools.accumulate(_WIDTHS[:-1], initial=_SINGLE + 1))
    ends = [*(start - 1 for start in upper[1:]), LARGEST]
    return [*(-end for end in reversed(ends)), *range(-_SINGLE, _SINGLE + 1), *upper]


STARTS = _starts()
SIZES = [b - a for a, b in zip(STARTS, [*STARTS[1:], LARGEST + 1], strict=True)]

Rows = tuple[Tensor, Tensor]  # frequencies (T, K), and which of these rows each integer has (m,)
Cells = Generator[Rows, Tensor, None]


class CellTables(nn.Module):
    """The frequencies of cells, by integer tables; integers to digits and back."""

    def __init__(self) -> None:
        super().__init__()
        self.smooth, self.exp = Smooth(), ExpTable()

    def level(self, log_ratio: Tensor) -> Tensor:
        """The row of `by_level` that is nearest to log(s / w)."""
        return ((log_ratio - _LOWEST) * _FINE + 0.5).floor().clamp(0.0, LEVELS - 1.0).long()

    def by_level(self) -> Tensor:
        """Frequencies (72, 63) of cells around 0."""
        log_ratio = _LOWEST + torch.arange(LEVELS, device=self.exp.whole.device).double() / _FINE
        zeros = torch.zeros(LEVELS, 1, device=log_ratio.device, dtype=torch.float64)
        ones = torch.full_like(zeros, float(2**PRECISION))
        return self.mixed(ones, zeros, self.exp(-log_ratio)[:, None], torch.ones_like(log_ratio))

    def mixed(self, weights: Tensor, location: Tensor, inverse: Tensor, step: Tensor) -> Tensor:
        """Frequencies (T, 63) of cells of width `step` (T,) under mixtures of logistics.

        weights (T, K) are integers of sum 2^24; `inverse` (T, K) are 1 / s.
        """
        edges = torch.tensor(STARTS[1:], device=step.device).double() - 0.5
        at = (edges * step[:, None])[:, None] - location[:, :, None]  # (T, K, 62)
        parts = self.smooth.logistic.integers(at * inverse[:, :, None])
        inner = ((weights[:, :, None] * parts).sum(1) * 2.0**-PRECISION).floor()
        ends = torch.cat((torch.zeros_like(inner[:, :1]), inner, torch.full_like(inner[:, :1], float(ONE))), dim=1)
        return spread(torch.diff(ends, dim=1).long() + 1)

    @staticmethod
    def split(k: Tensor) -> list[Tensor]:
        """The digits of integers (m,): the cell of each; then, of those in cells of several, two digits within it."""
        cell = torch.searchsorted(torch.tensor(STARTS, device=k.device), k, right=True) - 1
        wide = cell[_is_wide(cell)]
        inside = k[_is_wide(cell)] - torch.tensor(STARTS, device=k.device)[wide]
        return [cell, inside // _BASE, inside % _BASE]

    @staticmethod
    def join(digits: list[Tensor]) -> Tensor:
        """The integers that digits spell. One beyond 2047, which only a damaged code spells, is held to it."""
        cell, high, low = digits
        k = torch.tensor(STARTS, device=cell.device)[cell]
        k[_is_wide(cell)] += high * _BASE + low
        return k.clamp(-LARGEST, LARGEST)

    def digits(self, frequencies: Tensor, rows: Tensor) -> Cells:
        """Yield the frequencies of one digit after the other; the caller sends the digits."""
        cell = yield frequencies, rows
        sizes = torch.tensor(SIZES, device=cell.device)[cell[_is_wide(cell)]]
        rows_of = torch.zeros_like(sizes)
        for row in range(1, 6):  # as many values as a power of two
            rows_of = rows_of + (sizes > _BASE << (row - 1)).long()
        yield even_frequencies(), rows_of
        yield even_frequencies(), 3 + (sizes > 8).long() + (sizes > 16).long()


def even_frequencies() -> Tensor:
    """Frequencies (6, 32): row r has 2^r values of about equal frequency, and all others have 1."""
    few = torch.arange(_BASE) < 2 ** torch.arange(6)[:, None]
    return spread(few.long() << 20)


def _is_wide(cell: Tensor) -> Tensor:
    return (cell < len(_WIDTHS)) | (cell >= len(STARTS) - len(_WIDTHS))
