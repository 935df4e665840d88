"""Large pictures by overlapping windows of the size that a detector knows.

Windows lie half a side apart, the last of each row and column at the border. The score of a picture is the largest of
its windows: a defect is local. It is a fixed function of the picture, so its p-values hold like those of any score.
Where maps overlap, a pixel takes their mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from morphogen.applications.anomalies.detector import Detector
from morphogen.core.chunks import chunks
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.core.rng import Noise
from morphogen.data import Records

_AT_ONCE = 1 << 24  # pixels of windows together


def places(length: int, side: int) -> list[int]:
    """Where windows begin along a side of `length` pixels."""
    return sorted({*range(0, length - side + 1, max(1, side // 2)), length - side})


def window_spec(spec: DataSpec, side: int) -> DataSpec:
    """The description of windows. Raises `DataError` for pictures that are smaller."""
    if not spec.is_picture or min(spec.shape[1:]) < side:
        raise DataError(f"windows of {side} pixels need pictures of at least that side; records are {spec.shape}.")
    return spec.replace(shape=(spec.shape[0], side, side))


@final
class Windowed(Detector):
    """A detector of windows, for whole pictures."""

    def __init__(self, detector: Detector, side: int) -> None:
        self.detector, self.side = detector, side
        self.name, self.is_baseline, self.learns = detector.name, detector.is_baseline, detector.learns

    def fit(self, reference: Records) -> None:
        """Learn from windows that are given, or from those of whole pictures."""
        if reference.spec.shape[1:] == (self.side, self.side):
            self.detector.fit(reference)
            return
        parts = [self._cut(reference.select(rows)).stored for rows in chunks(len(reference), 64)]
        stored = torch.cat(parts)
        spec = window_spec(reference.spec, self.side)
        self.detector.fit(Records(spec, stored, torch.arange(len(stored))))

    def score(self, records: Records, rng: Noise) -> Tensor:
        """The largest score of a picture's windows."""
        found = []
        for windows, own in self._windows(records, rng):
            scores = self.detector.score(windows, own)
            found.append(scores.reshape(-1, self._count(records.spec)).amax(1))
        return torch.cat(found)

    def maps(self, records: Records, rng: Noise) -> Tensor | None:
        """(N, H, W): the mean of the windows' maps at each pixel."""
        found = []
        for windows, own in self._windows(records, rng):
            maps = self.detector.maps(windows, own)
            if maps is None:
                return None
            found.append(self._joined(maps, records.spec))
        return torch.cat(found)

    def _windows(self, records: Records, rng: Noise) -> Iterator[tuple[Records, Noise]]:
        count = self._count(records.spec)
        at_once = max(1, _AT_ONCE // (count * self.side**2 * records.spec.shape[0]))
        for rows in chunks(len(records), at_once):
            yield self._cut(records.select(rows)), rng.shifted(rows.start * count)

    def _cut(self, records: Records) -> Records:
        """The windows of pictures, those of one picture together."""
        spec, s = window_spec(records.spec, self.side), self.side
        cut = [records.stored[..., y : y + s, x : x + s] for y, x in self._corners(records.spec)]
        stored = torch.stack(cut, 1).flatten(0, 1)
        return Records(spec, stored, torch.arange(len(stored)))

    def _corners(self, spec: DataSpec) -> list[tuple[int, int]]:
        _, height, width = spec.shape
        return [(y, x) for y in places(height, self.side) for x in places(width, self.side)]

    def _count(self, spec: DataSpec) -> int:
        return len(self._corners(spec))

    def _joined(self, maps: Tensor, spec: DataSpec) -> Tensor:
        corners, s = self._corners(spec), self.side
        maps = maps.unflatten(0, (-1, len(corners)))
        total, times = maps.new_zeros(len(maps), *spec.shape[1:]), maps.new_zeros(spec.shape[1:])
        for k, (y, x) in enumerate(corners):
            total[:, y : y + s, x : x + s] += maps[:, k]
            times[y : y + s, x : x + s] += 1.0
        return total / times
