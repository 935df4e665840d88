r"""Whether samples look like records: by their power at fine and coarse detail, and by their colors.

With X the two-dimensional Fourier transform of a picture without the mean picture, P(f) = mean |X_f|^2 over pictures
and channels. Fine detail is at frequencies above a quarter of a cycle a pixel in either direction, and coarse
structure at those up to an eighth. White noise has the same power everywhere, and pictures have little at fine detail:

    noise   P_samples(fine) is several times P_records(fine)
    fog     P_samples(coarse) is a small part of P_records(coarse): all samples are alike and gray
    color   the mean color of the samples is further from the records' than one deviation of a record's mean color

Each is one cause. A cause is told once, and taken back when a later look does not find it any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

FEWEST = 16  # samples and records
_NOISE, _FOG, _COLOR = 3.0, 0.25, 1.0
_FINE, _COARSE = 0.25, 0.125  # cycles a pixel


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
    (fine, coarse), (fine_r, coarse_r) = _powers(made), _powers(real)
    means = real.mean((2, 3))
    deviation = np.maximum(means.std(0), 1e-12)
    color = float(np.abs((made.mean((0, 2, 3)) - means.mean(0)) / deviation).max())
    return Look(fine / max(fine_r, 1e-12), coarse / max(coarse_r, 1e-12), color)


def _powers(x: np.ndarray) -> tuple[float, float]:
    """The mean power at fine detail, and at coarse structure, without the mean picture."""
    x = x - x.mean(0)
    power = np.square(np.abs(np.fft.rfft2(x))).mean((0, 1))
    vertical = np.abs(np.fft.fftfreq(x.shape[2]))[:, None]
    horizontal = np.fft.rfftfreq(x.shape[3])[None, :]
    highest = np.maximum(vertical, horizontal)
    return float(power[highest > _FINE].mean()), float(power[highest <= _COARSE].mean())
