"""Modes: a class that is missing, shares that differ, distances within classes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.frechet import frechet
from morphogen.evaluation.metrics.modes import class_conditional_frechet, labels, modes
from morphogen.theory.statistics.intervals import binomial_tail

REAL = torch.tensor([0.4, 0.3, 0.2, 0.1]).double()


def draw(seed: int, name: str, n: int, shares: Tensor) -> Tensor:
    u = Rng(seed).uniform(name, n, dtype=torch.float64)
    return torch.searchsorted(shares.cumsum(0), u).clamp_max(len(shares) - 1)


def test_all_modes_are_found_where_they_are_and_a_dropped_one_is_named() -> None:
    real = draw(0, "real", 1000, REAL)
    same = modes(draw(0, "same", 1000, REAL), real, 5)  # class 4 is nowhere, and so no mode
    assert (same.found.value, same.there, same.missing, same.found.interval) == (4, 4, [], (4, 4))
    dropped = torch.tensor([0.4, 0.3, 0.295, 0.005]).double()  # a classifier's errors name some so
    found = modes(draw(0, "dropped", 1000, dropped), real, 5)
    assert (found.found.value, found.missing) == (3, [3])
    assert found.found.interval[0] == 3
    assert torch.allclose(found.shares.sum(1), torch.ones(2).double())


def test_few_records_leave_it_open_which_modes_are_made() -> None:
    found = modes(torch.arange(100) % 4, draw(0, "real", 1000, REAL), 4)
    assert found.found.interval == (4, 4)
    rare = torch.cat((torch.zeros(99, dtype=torch.long), torch.tensor([3])))
    found = modes(rare, draw(0, "real", 1000, REAL), 4)
    assert found.found.interval[0] == 1 and found.found.interval[1] >= 2


def test_kl_is_unbiased_and_covered() -> None:
    """150 trials; a coverage of 95 % gives fewer than 131 hits once in 10^3, 4 standard errors of the mean 10^-4."""
    for shares in (REAL, torch.tensor([0.25, 0.25, 0.25, 0.25]).double()):
        truth = float((shares * (shares / REAL).log()).sum())
        found = [modes(draw(s, "a", 400, shares), draw(s, "b", 500, REAL), 4).kl for s in range(150)]
        values = torch.tensor([f.value for f in found])
        assert abs(float(values.mean()) - truth) < 4.0 * float(values.std()) / 150**0.5
        hits = sum(f.interval[0] <= truth <= f.interval[1] for f in found)
        assert 1.0 - binomial_tail(hits + 1, 150, 0.95) > 1e-3


def test_an_empty_class_gives_the_smoothed_divergence() -> None:
    """Counts (100, 0) against (50, 50): p = (100.5, 0.5) / 101, q = 1/2."""
    real = torch.arange(100) % 2
    found = modes(torch.zeros(100, dtype=torch.long), real, 2).kl
    p = (100.5 / 101, 0.5 / 101)
    assert found.value + found.bias == pytest.approx(sum(v * math.log(2 * v) for v in p), rel=1e-12)


def test_classes_are_judged_each_by_itself() -> None:
    names = torch.arange(600) % 3
    real, made = (Rng(s).normal("x", 600, (4,), dtype=torch.float64) + 5.0 * names[:, None] for s in (0, 1))
    made[names == 2] += 0.5
    found = class_conditional_frechet(made, names, real, names)
    for k in range(3):
        assert found.each[k] == frechet(made[names == k], real[names == k])
    assert found.mean.value == pytest.approx(sum(e.value for e in found.each.values()) / 3, rel=1e-12)
    assert found.worst_class == 2 and found.worst.value == found.each[2].value
    assert found.worst.interval[0] < found.each[2].interval[0]  # at the level of all three
    width = found.mean.interval[1] - found.mean.interval[0]
    assert width < min(e.interval[1] - e.interval[0] for e in found.each.values()) or found.each[2].value > 0.5


def test_labels_that_were_asked_for_show_pictures_of_the_wrong_class() -> None:
    names = torch.arange(400) % 2
    real, made = (Rng(s).normal("x", 400, (4,), dtype=torch.float64) + 5.0 * names[:, None] for s in (0, 1))
    swapped = class_conditional_frechet(made, 1 - names, real, names)
    assert frechet(made, real).value < 1.0 < 90.0 < swapped.mean.value


def test_too_small_classes_are_left_out_with_the_reason_and_none_is_an_error() -> None:
    names = torch.cat((torch.zeros(100), torch.ones(20))).long()
    x = Rng(0).normal("x", 120, (4,))
    found = class_conditional_frechet(x, names, x, names)
    assert list(found.each) == [0] and "20 generated and 20 real records, at least 40" in found.left_out[1]
    with pytest.raises(DataError, match="no class has enough records"):
        class_conditional_frechet(x[100:], names[100:], x, names)


def test_bad_labels_and_too_few_records_are_refused() -> None:
    real = draw(0, "real", 1000, REAL)
    with pytest.raises(DataError, match=r"rarest of 4 classes .* Use at least \d+ generated"):
        modes(draw(0, "a", 50, REAL), real, 4)
    with pytest.raises(DataError, match="expected 0 to 2"):
        modes(real, real, 3)
    with pytest.raises(DataError, match="take `labels"):
        modes(torch.zeros(10, 4), real, 4)
    assert labels(torch.tensor([[0.0, 2.0, 1.0]])).tolist() == [1]
