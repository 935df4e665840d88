"""The Bjontegaard difference beside scipy's cubics and beside known curves."""

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from morphogen.core.errors import UsageError
from morphogen.theory.bjontegaard import _through, bd_rate


def test_cubics_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for n in (2, 3, 4, 9):
        x, y = np.cumsum(rng.uniform(0.1, 1.0, n)), rng.normal(size=n).cumsum()
        at = np.linspace(x[0], x[-1], 101)
        assert np.allclose(_through(x, y, at), PchipInterpolator(x, y)(at), atol=1e-12)


def test_a_codec_of_twice_the_bits_needs_as_many_more():
    quality = np.array([28.0, 31.0, 34.5, 40.0])
    rate = np.array([0.2, 0.4, 0.9, 2.0])
    assert bd_rate((rate, quality), (rate, quality)) == pytest.approx(0.0, abs=1e-12)
    assert bd_rate((rate, quality), (2 * rate, quality)) == pytest.approx(1.0)
    assert bd_rate((2 * rate, quality), (rate, quality)) == pytest.approx(-0.5)
    # along R = e^(d / 6) a codec that is 1 dB better at each rate saves 1 - e^(-1/6)
    line = np.exp(quality / 6)
    assert bd_rate((line, quality), (line, quality + 1.0)) == pytest.approx(np.exp(-1 / 6) - 1)
    assert bd_rate((rate, quality), (rate[::-1], quality[::-1])) == pytest.approx(0.0, abs=1e-12)


def test_curves_that_do_not_meet_are_refused():
    with pytest.raises(UsageError, match="in common"):
        bd_rate((np.array([1.0, 2.0]), np.array([20.0, 25.0])), (np.array([1.0, 2.0]), np.array([30.0, 35.0])))
    with pytest.raises(UsageError, match="two points"):
        bd_rate((np.array([1.0]), np.array([20.0])), (np.array([1.0, 2.0]), np.array([30.0, 35.0])))
