"""Numbers of calls: those in range pass, all others are wrong usage that names the flag and the range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from morphogen.core.errors import UsageError
from morphogen.core.limits import REAL, WHOLE, check_numbers
from morphogen.core.rng import Rng


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name: str) -> None:
    low, high = WHOLE[name]
    check_numbers(**{name: low})
    check_numbers(**{name: high})
    check_numbers(**{name: np.int64(low)})
    check_numbers(**{name: None})
    for wrong in (low - 1, high + 1, 10**10_000, 1.5, math.nan, math.inf, "3", True):
        with pytest.raises(
            UsageError, match=f"^--{name.replace('_', '-')} is a whole number from {low:,} to "
        ) as error:
            check_numbers(**{name: wrong})
        assert len(str(error.value)) < 200


@pytest.mark.parametrize("name", REAL)
def test_real_numbers(name: str) -> None:
    low, high = REAL[name]
    for right in (low, high, 1, np.float32(1.0), [low, high]):
        check_numbers(**{name: right})
    wrong: Any
    for wrong in (low - 1.0, high * 1.1, math.nan, math.inf, -math.inf, "1", True, [low, math.nan]):
        with pytest.raises(UsageError, match=f"^--{name} is a number from "):
            check_numbers(**{name: wrong})


@pytest.mark.parametrize("seed", [-1, 2**64, 2**70])
def test_seeds_of_noise_have_64_bits(seed: int) -> None:
    with pytest.raises(UsageError, match=r"--seed is a whole number from 0 to 2\^64 - 1"):
        Rng(seed)
    assert Rng(2**64 - 1).child("a").shifted(3).normal("x", 2, (3,)).isfinite().all()
