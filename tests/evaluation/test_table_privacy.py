"""Distances, attacks and interpolation on tables: planted leaks are found, and fresh rows alarm at the stated rate."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from morphogen.core.errors import DataError
from morphogen.evaluation.tables import distances
from morphogen.evaluation.tables.baselines.smote import smote_rows
from morphogen.evaluation.tables.encoding import Encoder
from morphogen.evaluation.tables.interpolation import interpolation
from morphogen.theory.statistics.intervals import binomial_tail
from tests.evaluation.table_makers import categories, numbers, patients


def test_the_share_nearer_to_training_rows_is_that_of_all_pairs() -> None:
    made, train, held_out = patients(60, 0), patients(50, 1), patients(50, 2)
    encoder = Encoder(train)
    x, t, h = (encoder.positions(rows) for rows in (made, train, held_out))
    nearer = [np.linalg.norm(t - row, axis=1).min() < np.linalg.norm(h - row, axis=1).min() for row in x]
    found = distances.nearest(made, distances.Halves(train, held_out), encoder)
    assert found.share.value == pytest.approx(np.mean(nearer), abs=1e-12)


def test_rows_at_equal_distance_count_half() -> None:
    same = numbers(np.arange(40.0).reshape(20, 2))
    found = distances.nearest(same, distances.Halves(same, same), Encoder(same))
    assert found.share.value == 0.5 and found.p_value == 0.5


def test_the_variance_of_the_share_is_that_of_all_relabelings() -> None:
    """Four training and four held-out rows: the sum of the weights over all 70 choices of the training rows."""
    w = np.array([0.0, 3.0, 1.0, 0.0, 5.0, 2.0, 2.0, 1.0])
    sums = [w[list(chosen)].sum() for chosen in combinations(range(8), 4)]
    assert distances._deviation(w) == pytest.approx(np.std(sums), abs=1e-12)


def test_equal_rows_are_counted_missing_cells_and_all() -> None:
    train, held_out = patients(100, 0), patients(100, 1)
    made = train.take(slice(0, 30)).joined(held_out.take(slice(0, 10)))
    found = distances.duplicates(made, train, distances.Halves(train, held_out))
    assert found.share.value == 0.75 and found.repeated == 0.0
    assert distances.duplicates(made.joined(made), train, distances.Halves(train, held_out)).repeated == 0.5


def test_a_copy_is_found_by_every_measure() -> None:
    train, held_out = patients(300, 0), patients(300, 1)
    of, encoder = distances.Halves(train, held_out), Encoder(train)
    attack = distances.membership(train, of, encoder)
    assert attack.auc.value > 0.99 and attack.p_auc < 1e-6
    assert attack.found.value > 0.9 and attack.p_found < 1e-6
    near = distances.nearest(train, of, encoder)
    assert near.share.value == 1.0 and near.p_value < 1e-6
    equal = distances.duplicates(train, train, of)
    assert equal.share.value == 1.0 and equal.p_value < 1e-6


def test_fresh_rows_alarm_at_the_stated_rate() -> None:
    """Five tests at 5 % each, over 200 trials of 80 rows: rarely more than 5 % of them alarm."""
    trials = 200
    alarms = np.zeros(4, dtype=int)
    for s in range(trials):
        made, train, held_out = (patients(80, 3 * s + i) for i in range(3))
        of, encoder = distances.Halves(train, held_out), Encoder(train)
        attack = distances.membership(made, of, encoder)
        p_values = (
            distances.nearest(made, of, encoder).p_value,
            attack.p_auc,
            attack.p_found,
            distances.duplicates(made, train, of).p_value,
        )
        alarms += np.array(p_values) < 0.05
    assert all(binomial_tail(int(count), trials, 0.05) > 1e-3 for count in alarms), alarms


def test_the_interval_of_the_share_covers_one_half() -> None:
    covered = 0
    for s in range(100):
        made, train, held_out = (patients(120, 1000 + 3 * s + i) for i in range(3))
        low, high = distances.nearest(made, distances.Halves(train, held_out), Encoder(train)).share.interval  # type: ignore[misc]
        covered += low <= 0.5 <= high
    assert covered >= 88  # the chance of fewer is below 1e-3 at 95 %


def test_rows_between_training_rows_are_found_and_new_ones_are_not() -> None:
    train, held_out = patients(400, 0), patients(400, 1)
    of = distances.Halves(train, held_out)
    between = interpolation(smote_rows(train, 300, np.random.default_rng(0)), of, train)
    assert between.share.value > 0.5 and between.p_value < 1e-6
    fresh = interpolation(patients(300, 2), of, train)
    assert fresh.share.value < 0.2 and fresh.p_value > 1e-3
    assert interpolation(train, of, train).share.value < 0.05  # a copy is no interpolation


def test_few_rows_or_columns_are_refused_with_a_reason() -> None:
    with pytest.raises(DataError, match="at least 20 of each"):
        distances.halves(patients(300, 0), patients(5, 1))
    codes = categories(np.random.default_rng(0).integers(3, size=(50, 2)), 3)
    with pytest.raises(DataError, match="at least 3 columns of numbers"):
        interpolation(codes, distances.Halves(codes, codes), codes)


def test_the_halves_are_equally_large_and_hold_no_row_twice() -> None:
    train, held_out = patients(200, 0), patients(50, 1)
    of = distances.halves(train, held_out)
    assert len(of.train) == len(of.held_out) == 50
    assert len(np.unique(np.nan_to_num(of.train.cells, nan=-1.0), axis=0)) == 50
