"""Records as vectors, for rules that measure distances (`distances.py`).

    pixels        the values of a picture, 0 to 1
    blurred       after a Gaussian blur of 1/28 of the shorter side (1 pixel in 28)
    histograms    of oriented gradients of 180 degrees, cells of 8/28 of the shorter side that overlap by a half
    signed        the same of 360 degrees, cells of 10/28
    gradients     roots of the mean votes of cells of 7/28, not scaled by blocks, so that contrast counts
    upright       signed histograms of the picture without its slant (`upright.py`)
    fine          of that picture, too: roots of the votes of cells of 6/28, in units of the votes around them
    bands         log of the energy of three bands of frequency in cells of 7/28 (`bands.py`)
    rows          numbers of a table or of vectors as they are, categories one-hot times 1/sqrt(2), so that two
                  different values are 1 apart, a flag for missing; a missing number is the median of normal ones

Blurred pixels forgive small shifts, histograms also changes of brightness and contrast. Votes are shared by the two
nearest bins.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from morphogen.applications.anomalies.features.bands import band_energies, blurred
from morphogen.applications.anomalies.features.gradients import histograms, relative_votes, votes
from morphogen.applications.anomalies.features.upright import upright
from morphogen.core.chunks import chunks
from morphogen.core.columns import Table
from morphogen.core.data_spec import DataSpec
from morphogen.data import Records

_AT_ONCE = 1 << 17  # elements of pictures together: few enough for the processor's cache


def pixels(stored: Tensor, spec: DataSpec) -> Tensor:
    """Pictures (N, C, H, W) float32 in [0, 1]."""
    low, high = spec.stored_range
    return (stored.float() - low) / (high - low)


def scale_of(spec: DataSpec) -> float:
    """Pixels of a picture for one of a picture whose shorter side has 28."""
    return max(min(spec.shape[1:]) / 28.0, 0.25)


def picture_view(records: Records, name: str) -> Tensor:
    """(N, D) float32: a view of pictures by its name."""
    spec, found = records.spec, []
    for rows in chunks(len(records), max(1, _AT_ONCE // spec.dimensions)):
        x = pixels(records.stored[rows].cpu(), spec)
        if name == "blurred":
            x = blurred(x, scale_of(spec))
        elif name == "histograms":
            x = histograms(x, *_cells(spec, 8), soft=True)
        elif name == "signed":
            x = histograms(_padded(x, spec, 3), *_cells(spec, 10), bins=12, soft=True, signed=True)
        elif name == "gradients":
            x = votes(_padded(x, spec, 2), *_cells(spec, 7), bins=12, soft=True, signed=True).sqrt()
        elif name == "fine":
            x = relative_votes(_padded(upright(x), spec, 1), *_cells(spec, 6)).sqrt()
        elif name == "upright":
            x = histograms(_padded(upright(x), spec, 3), *_cells(spec, 10), bins=12, soft=True, signed=True)
        elif name == "bands":
            x = band_energies(x, scale_of(spec), _cells(spec, 7)[0])
        found.append(x.flatten(1))
    return torch.cat(found)


def _cells(spec: DataSpec, side: int) -> tuple[int, int]:
    """The side of a cell in pixels, `side` of a picture of 28, and the pixels from cell to cell."""
    cell = min(max(2, round(side * min(spec.shape[1:]) / 28)), *spec.shape[1:])
    return cell, max(1, (cell + 1) // 2)


def _padded(x: Tensor, spec: DataSpec, side: int) -> Tensor:
    """With a margin of zeros, so that the border counts as often as the middle."""
    margin = round(side * min(spec.shape[1:]) / 28)
    return functional.pad(x, (margin, margin, margin, margin))


class Rows:
    """Tables and vectors as vectors: `fit` learns what stands for missing numbers."""

    def fit(self, records: Records) -> Tensor:
        """Learn the medians of numbers, and give the vectors (N, D) of these records."""
        numbers = _numbers(records)
        medians = numbers.nanmedian(0).values
        self.medians = torch.where(medians.isnan(), 0.0, medians)
        return self(records)

    def __call__(self, records: Records) -> Tensor:
        """(N, D) float64."""
        numbers = _numbers(records)
        parts = [torch.where(numbers.isnan(), self.medians, numbers)]
        table = records.spec.table
        if table is not None:
            parts += _places(records.stored, table)
            flags = [j for j, column in enumerate(table.columns) if column.is_number and column.has_missing]
            parts.append(records.stored[:, flags].isnan().double())
        return torch.cat(parts, 1)


def _numbers(records: Records) -> Tensor:
    """(N, J) float64: the numbers, NaN where missing."""
    table, stored = records.spec.table, records.stored.cpu().double()
    if table is None:
        return stored.flatten(1)
    return stored[:, [j for j, column in enumerate(table.columns) if column.is_number]]


def _places(cells: Tensor, table: Table) -> list[Tensor]:
    found = []
    for j, column in enumerate(table.columns):
        if not column.is_number:
            place = torch.where(cells[:, j].isnan(), len(column.values), cells[:, j]).long()
            found.append(functional.one_hot(place, len(column.values) + 1).double() / math.sqrt(2.0))
    return found
