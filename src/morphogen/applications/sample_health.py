r"""Whether samples look like records: by their power at fine and coarse detail, and by their colors.

With P(f) the power of pictures at a frequency (`theory/spectra.py`), on average over fine and over coarse detail:

    noise   P_samples(fine) is several times P_records(fine)
    fog     P_samples(coarse) is a small part of P_records(coarse): all samples are alike and gray
    color   the mean color of the samples is further from the records' than one deviation of a record's mean color

Each is one cause. A cause is told once, and taken back when a later look does not find it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from morphogen.theory.spectra import powers

FEWEST = 16  # samples and records
_NOISE, _FOG, _COLOR = 3.0, 0.25, 1.0


@dataclass(frozen=True)
class Look:
    """Shares of the records' power at fine and coarse detail, and the distance of mean colors in deviations."""

    fine: float
    coarse: float
    color: float

    @property
    def causes(self) -> Mapping[str, str]:
        """What is wrong, by its cause, in words without measured numbers."""
        found = {}
        if self.fine > _NOISE:
            found["noise"] = "noise: samples have several times the fine detail of records; train longer"
        if self.coarse < _FOG:
            found["fog"] = "fog: samples differ from each other far less than records do; train longer"
        elif self.color > _COLOR:
            found["color"] = "color: the mean color of samples is not that of records; train longer"
        return found


def look_at(samples: np.ndarray, records: np.ndarray) -> Look | None:
    """Compare samples with records, both (N, C, H, W) in the same units; None where there are too few, or too small."""
    if min(len(samples), len(records)) < FEWEST or min(samples.shape[2:]) < 8:
        return None
    made, real = (np.asarray(x, dtype=np.float64) for x in (samples, records))
    (fine, coarse), (fine_r, coarse_r) = powers(made), powers(real)
    means = real.mean((2, 3))
    deviation = np.maximum(means.std(0), 1e-12)
    color = float(np.abs((made.mean((0, 2, 3)) - means.mean(0)) / deviation).max())
    return Look(fine / max(fine_r, 1e-12), coarse / max(coarse_r, 1e-12), color)
