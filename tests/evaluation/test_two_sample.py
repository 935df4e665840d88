"""The classifier test: its level, its power, its refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.two_sample import two_sample_test
from morphogen.theory.statistics.intervals import binomial_interval, binomial_tail


def normal(seed: int, n: int, d: int = 5, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    return scale * Rng(seed).normal("x", n, (d,)) + shift


def test_the_level_is_kept_where_a_classifier_can_memorize() -> None:
    """60 trials of 60 records in 20 dimensions: at the 5 % level more than 9 alarms come once in 10^3."""
    found = [two_sample_test(normal(2 * i, 60, 20), normal(2 * i + 1, 60, 20), Rng(i)) for i in range(60)]
    alarms = sum(f.p_value <= 0.05 for f in found)
    assert binomial_tail(alarms, 60, 0.05) > 1e-3
    assert abs(sum(f.accuracy.value for f in found) / 60 - 0.5) < 4 * 0.5 / (60 * 96) ** 0.5


def test_a_shift_is_found_and_the_accuracy_that_of_the_best_classifier() -> None:
    """Of two unit normals 2 m apart the best classifier names Phi(m) right; sums of blocks: N = 1600."""
    d, m = 4, 0.5
    shift = 2 * m / d**0.5
    found = two_sample_test(normal(0, 1000, d), normal(1, 1000, d, shift), Rng(0))
    best = float(torch.special.ndtr(torch.tensor(m)))
    assert found.n == 1600 and found.p_value < 1e-10
    assert abs(found.accuracy.value - best) < 4 * 0.5 / 40
    assert found.accuracy.interval == binomial_interval(round(found.accuracy.value * 1600), 1600)
    assert found.auc > 0.7


def test_boosting_sees_what_is_no_difference_of_means() -> None:
    a, b = normal(0, 500, 3), normal(1, 500, 3, scale=2.0)
    assert two_sample_test(a, b, Rng(0)).accuracy.value < 0.6
    assert two_sample_test(a, b, Rng(0), "boosting").p_value < 1e-10


def test_equal_and_sufficient_numbers_are_demanded() -> None:
    with pytest.raises(DataError, match="got 100 and 120: take 100 of each"):
        two_sample_test(normal(0, 100), normal(1, 120), Rng(0))
    with pytest.raises(DataError, match="at least 50 of each are needed"):
        two_sample_test(normal(0, 49), normal(1, 49), Rng(0))
