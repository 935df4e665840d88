"""Attacks on tables: copies are found, fresh rows alarm at the stated rate, what holds for everybody is no risk."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.core.errors import DataError
from morphogen.evaluation.tables.distances import Halves
from morphogen.safeguards.privacy.tables import singling_out as module
from morphogen.safeguards.privacy.tables.attribute_inference import _right, attribute_inference
from morphogen.safeguards.privacy.tables.singling_out import _matches, singling_out
from morphogen.theory.statistics.intervals import binomial_tail
from tests.evaluation.table_makers import categories, numbers, patients


def test_guesses_are_those_of_the_nearest_row_by_the_other_columns() -> None:
    made = numbers(np.array([[0.0, 10.0], [1.0, 20.0], [2.0, np.nan]]))
    rows = numbers(np.array([[0.1, 10.2], [0.9, 13.0], [2.1, np.nan], [0.0, np.nan]]))
    real = numbers(np.column_stack((np.arange(100.0) / 50.0, np.arange(100.0))))
    assert _right(made, rows, real, 1).tolist() == [True, False, True, False]  # 5 % of 90 is 4.5


def test_copies_give_attributes_away_and_fresh_rows_do_not() -> None:
    train, held_out, fresh = (patients(150, s) for s in range(3))
    of = Halves(train, held_out)
    copied = attribute_inference(train, of, train)
    assert copied.members == 1.0 and copied.p_value < 1e-6
    assert copied.risk.interval is not None and copied.risk.interval[0] > 0.2
    new = attribute_inference(fresh, of, train)
    assert new.others > 0.2 and new.p_value > 1e-3  # much is known of anybody, and nothing of the training rows
    assert new.risk.interval is not None and new.risk.interval[0] <= 0.0 <= new.risk.interval[1]


def test_copies_are_singled_out_and_fresh_rows_are_not() -> None:
    train, held_out, fresh = (patients(200, s) for s in range(3))
    of = Halves(train, held_out)
    copied = singling_out(train, of)
    assert copied.p_value == pytest.approx(1 / 1001) and copied.risk.value > 0.1
    new = singling_out(fresh, of)
    assert new.p_value > 1e-3 and new.members > 0.02


def test_fresh_rows_alarm_at_the_stated_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DESCRIPTIONS", 50)
    monkeypatch.setattr(module, "RELABELINGS", 200)
    trials, alarms = 60, np.zeros(2, dtype=int)
    for s in range(trials):
        made, train, held_out = (patients(40, 3 * s + i) for i in range(3))
        of = Halves(train, held_out)
        alarms += np.array([attribute_inference(made, of, train).p_value, singling_out(made, of).p_value]) < 0.05
    assert all(binomial_tail(int(count), trials, 0.05) > 1e-3 for count in alarms), alarms


def test_descriptions_read_numbers_categories_and_missing_cells() -> None:
    cells = np.array([1.0, 2.0, 3.0, np.nan])
    assert _matches(cells, 3.0, False).tolist() == [False, False, True, False]
    assert _matches(cells, 1.0, False).tolist() == [True, False, False, False]
    assert _matches(cells, 2.0, True).tolist() == [False, True, False, False]
    assert _matches(cells, np.nan, True).tolist() == [False, False, False, True]


def test_one_column_is_refused() -> None:
    one = categories(np.zeros((30, 1)), 2)
    for attack in (
        lambda: attribute_inference(one, Halves(one, one), one),
        lambda: singling_out(one, Halves(one, one)),
    ):
        with pytest.raises(DataError, match="only one"):
            attack()
