r"""The Bjontegaard difference of two codecs: how many more bits one needs than the other, at equal quality, on average.

Each codec is measured at some rates r and qualities d (PSNR in dB). Its curve log r(d) runs through the points as a
piecewise cubic that is monotone where they are (Fritsch and Butland, 1984), and

    exp( mean over d of [log r_1(d) - log r_0(d)] ) - 1

over the qualities that both reach is the difference, -0.3 for 30 % fewer bits (Bjontegaard, "Calculation of average
PSNR differences between RD-curves", VCEG-M33, 2001; piecewise cubics as in ITU-T H.Sup-HM).
"""

from __future__ import annotations

import numpy as np

from morphogen.core.errors import UsageError

Curve = tuple[np.ndarray, np.ndarray]  # rates and qualities (N,)
_PLACES = 1000  # of the integral


def bd_rate(anchor: Curve, other: Curve) -> float:
    """By how much `other` needs more bits than `anchor`, as a share, averaged over the qualities that both reach.

    Args:
        anchor: rates (N,), all positive, in any unit, and qualities (N,).
        other: the same of the other codec, in the same units.

    Returns:
        The difference; below 0 where `other` is the better one.

    Raises:
        UsageError: fewer than two points, or no quality that both reach.

    Example:
        >>> import numpy as np
        >>> quality = np.array([30.0, 35.0, 40.0])
        >>> round(bd_rate((np.array([1.0, 2.0, 4.0]), quality), (np.array([0.5, 1.0, 2.0]), quality)), 6)
        -0.5
    """
    curves = [_sorted(*curve) for curve in (anchor, other)]
    low, high = max(q[0] for q, _ in curves), min(q[-1] for q, _ in curves)
    if not low < high:
        raise UsageError("the codecs reach no quality in common: measure both at more rates.")
    at = low + (np.arange(_PLACES) + 0.5) / _PLACES * (high - low)
    ours, theirs = (_through(*curve, at) for curve in curves[::-1])
    return float(np.exp((ours - theirs).mean()) - 1.0)


def _sorted(rates: np.ndarray, qualities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Qualities in rising order, and the logarithms of their rates."""
    order = np.argsort(qualities)
    quality, rate = np.asarray(qualities, float)[order], np.log(np.asarray(rates, float)[order])
    if len(quality) < 2 or not (np.diff(quality) > 0).all():
        raise UsageError("a curve of rate and quality needs at least two points of different quality.")
    return quality, rate


def _through(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The monotone piecewise cubic through (x, y), at places between the ends."""
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    d = np.empty_like(y)
    d[0], d[-1] = slope[0], slope[-1]
    if len(x) > 2:
        d[0] = _end(h[0], h[1], slope[0], slope[1])
        d[-1] = _end(h[-1], h[-2], slope[-1], slope[-2])
        a, b = 2.0 * h[1:] + h[:-1], h[1:] + 2.0 * h[:-1]
        same = slope[:-1] * slope[1:] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            d[1:-1] = np.where(same, (a + b) / (a / slope[:-1] + b / slope[1:]), 0.0)  # a harmonic mean
    i = np.clip(np.searchsorted(x, at, "right") - 1, 0, len(h) - 1)
    t, w = (at - x[i]) / h[i], h[i]
    return (
        y[i] * (1 + 2 * t) * (1 - t) ** 2
        + w * d[i] * t * (1 - t) ** 2
        + y[i + 1] * t**2 * (3 - 2 * t)
        + w * d[i + 1] * t**2 * (t - 1)
    )


def _end(h0: float, h1: float, s0: float, s1: float) -> float:
    """The slope at an end: that of a parabola through three points, held to what stays monotone."""
    d = ((2.0 * h0 + h1) * s0 - h0 * s1) / (h0 + h1)
    if d * s0 <= 0:
        return 0.0
    return 3.0 * s0 if s0 * s1 <= 0 and abs(d) > 3.0 * abs(s0) else d
