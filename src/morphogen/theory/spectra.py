r"""The power of pictures at fine and at coarse detail.

With X the two-dimensional Fourier transform of a picture without the mean picture, P(f) = mean |X_f|^2 over pictures
and channels. Fine detail is at frequencies above a quarter of a cycle a pixel in either direction, and coarse structure
at those up to an eighth. White noise has the same power everywhere; natural pictures have little at fine detail
(Field, "Relations between the statistics of natural images and the response properties of cortical cells", 1987).
"""

from __future__ import annotations

import numpy as np

FINE, COARSE = 0.25, 0.125  # cycles a pixel


def powers(x: np.ndarray) -> tuple[float, float]:
    """The mean power of pictures (N, C, H, W) at fine detail, and at coarse structure, without the mean picture.

    Args:
        x: real numbers in any unit; the powers have its square.

    Returns:
        The mean of P(f) over the frequencies above `FINE`, and over those up to `COARSE`.
    """
    x = x - x.mean(0)
    power = np.square(np.abs(np.fft.rfft2(x))).mean((0, 1))
    vertical = np.abs(np.fft.fftfreq(x.shape[2]))[:, None]
    horizontal = np.fft.rfftfreq(x.shape[3])[None, :]
    highest = np.maximum(vertical, horizontal)
    return float(power[highest > FINE].mean()), float(power[highest <= COARSE].mean())
