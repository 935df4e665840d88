"""Areas under the curve, their intervals, and true positives at few false ones, beside counting and scikit-learn."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.theory.statistics import roc
from morphogen.theory.statistics.intervals import binomial_interval, binomial_tail


def scores(seed: int, n: int, m: int, levels: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Integer scores, so that many are equal."""
    return Rng(seed).integers("positive", n, levels).double(), Rng(seed).integers("negative", m, levels).double()


def test_the_area_is_the_share_of_ordered_pairs_and_equals_scikit_learn() -> None:
    high, low = scores(0, 55, 40)
    pairs = torch.tensor([[1.0 if a > b else 0.5 if a == b else 0.0 for b in low] for a in high])
    want = roc_auc_score([1] * 55 + [0] * 40, torch.cat((high, low)).numpy())
    value, variance = roc.auc_and_variance(high, low)
    assert value == pytest.approx(float(pairs.double().mean()), rel=1e-12)
    assert value == pytest.approx(want, rel=1e-12)
    delong = float(pairs.mean(1).var() / 55 + pairs.mean(0).var() / 40)
    assert variance == pytest.approx(delong, rel=1e-5)


def test_the_variance_of_exchangeable_scores_is_that_of_all_orders() -> None:
    """Three positives among seven ranks."""
    areas = []
    for places in combinations(range(7), 3):
        high = torch.tensor(places, dtype=torch.float64)
        low = torch.tensor([r for r in range(7) if r not in places], dtype=torch.float64)
        areas.append(roc.auc_and_variance(high, low)[0])
    assert float(torch.tensor(areas).var(correction=0)) == pytest.approx(roc.null_variance(3, 4), rel=1e-6)


def test_the_curve_is_that_of_scikit_learn_and_its_area_is_the_area() -> None:
    high, low = scores(1, 30, 50, 12)
    false, true, _ = roc_curve([1] * 30 + [0] * 50, torch.cat((high, low)).numpy(), drop_intermediate=False)
    found = roc.curve(high, low)
    assert found.false.numpy() == pytest.approx(false) and found.true.numpy() == pytest.approx(true)
    assert float(torch.trapezoid(found.true, found.false)) == pytest.approx(roc.auc(high, low).value, abs=1e-12)


@pytest.mark.parametrize(("shift", "truth"), [(0.0, 0.5), (1.0, 0.7602499), (3.0, 0.9830526)])
def test_the_interval_covers_at_its_rate(shift: float, truth: float) -> None:
    """Normal scores: the area is Phi(shift / 2^1/2)."""
    trials, covered = 400, 0
    x, y = Rng(2).normal("x", trials, (60,)) + shift, Rng(2).normal("y", trials, (80,))
    for high, low in zip(x, y, strict=True):
        interval = roc.auc(high, low).interval
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert binomial_tail(trials - covered, trials, 0.05) > 1e-3


def test_perfect_scores_have_an_interval_that_is_no_point() -> None:
    found = roc.auc(torch.arange(20.0) + 100.0, torch.arange(20.0))
    assert found.value == 1.0 and found.interval is not None
    assert found.interval[0] < 0.95 and found.interval[1] == 1.0


def test_true_positives_are_counted_above_the_allowed_negatives() -> None:
    negatives = torch.arange(1000.0)
    positives = torch.tensor([989.0, 989.5, 990.0, 998.5, 2000.0])
    at_one = roc.true_positives(positives, negatives, 0.01)
    assert at_one.false_positives.value == 0.01 and at_one.found.value == 0.8  # the threshold is 989
    assert at_one.found.interval == binomial_interval(4, 5)
    at_tenth = roc.true_positives(positives, negatives, 0.001)
    assert at_tenth.found.value == 0.4 and at_tenth.false_positives.value == 0.001  # the threshold is 998
    few = roc.true_positives(positives, negatives[:50], 0.01)
    assert few.false_positives.value == 0.0 and few.false_positives.interval == binomial_interval(0, 50)


def test_equal_scores_find_nobody() -> None:
    same = torch.ones(100)
    assert roc.true_positives(same, same, 0.01).found.value == 0.0
    assert roc.auc(same, same).value == 0.5


def test_the_chance_of_hits_is_that_of_all_orders() -> None:
    """Of 4 + 4 rows in random order: hits before the second other row."""
    orders = list(combinations(range(8), 4))  # the places of the members
    for hits in range(5):
        count = sum(_hits(set(members)) >= hits for members in orders)
        assert roc.hits_p_value(hits, 1, 4, 4) == pytest.approx(count / len(orders), abs=1e-12)


def _hits(members: set[int]) -> int:
    """Members that rank before the second other row."""
    found = others = 0
    for place in range(8):
        if place in members:
            found += 1
        else:
            others += 1
            if others > 1:
                break
    return found


def test_no_scores_and_nan_are_refused() -> None:
    with pytest.raises(DataError, match="got 0 of one kind"):
        roc.auc(torch.zeros(0), torch.zeros(3))
    with pytest.raises(DataError, match="1 of them NaN"):
        roc.curve(torch.tensor([0.0, torch.nan]), torch.zeros(3))
    with pytest.raises(DataError, match="rate of false positives"):
        roc.true_positives(torch.zeros(3), torch.zeros(3), 1.0)
