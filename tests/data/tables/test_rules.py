"""Rules and conditions: what they hold for, and what their parsers refuse."""

from __future__ import annotations

import math

import pytest
import torch

from morphogen.core.columns import Column, Table
from morphogen.core.errors import SpecError, UsageError
from morphogen.data.tables.rules import MISSING, Rules
from morphogen.data.tables.where import parse_where

NAN = math.nan
TABLE = Table(
    columns=(
        Column(name="age", type="integer", high=100.0, resolution=1.0, missing=0.1),
        Column(name="a", type="number", low=-10.0, high=10.0),
        Column(name="b-c", type="number", low=-10.0, high=10.0),
        Column(name="sex", type="category", values=("female", "male"), missing=0.1),
        Column(name="stage", type="ordinal", values=("I", "II", "III")),
        Column(name="income", type="category", values=("<=50K", ">50K", "a, b")),
        Column(name="day", type="datetime", high=86400.0 * 20000, resolution=86400.0, format="%Y-%m-%d"),
    )
)
CELLS = torch.tensor(
    [
        [30.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0],
        [17.0, 3.0, 2.0, 1.0, 1.0, 1.0, 86400.0],
        [NAN, 0.1 + 0.2, 0.3, NAN, 2.0, 2.0, 86400.0 * 18262],
        [65.0, -1.0, 1.0, 1.0, 2.0, 1.0, 86400.0 * 18263],
    ],
    dtype=torch.float64,
)


def holds(*rules: str) -> list[bool]:
    return list(Rules(TABLE.replace(rules=rules)).hold(CELLS).tolist())


def meets(text: str) -> list[bool]:
    return list(parse_where(text, TABLE).hold(CELLS).tolist())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("age >= 18", [True, False, True, True]),
        ("a == `b-c`", [False, False, True, False]),
        ("a < `b-c`", [True, False, False, True]),
        ("a + 1 <= 2 * `b-c` - 1", [True, False, False, True]),
        ("-a * (2 + 1) < 0", [True, True, True, False]),
        ("(a + `b-c`) / 2 > 1", [True, True, False, False]),
        ("sex == female", [True, False, True, False]),
        ("sex != 'male' or age > 20", [True, False, True, True]),
        ("not (sex == male and age > 20)", [True, True, True, False]),
        ("stage >= II", [False, True, True, True]),
        ("stage in [I, III]", [True, False, True, True]),
        ("income == '>50K'", [False, True, False, True]),
        ("day >= '2020-01-02'", [False, False, False, True]),
        ("18 <= age", [True, False, True, True]),
        ("female == sex", [True, False, True, False]),
    ],
)
def test_rules_hold_for_these_rows(rule: str, expected: list[bool]) -> None:
    assert holds(rule) == expected
    assert holds(rule, "age < 60") == [e and k for e, k in zip(expected, [True, True, True, False], strict=True)]


def test_a_comparison_with_a_missing_cell_holds() -> None:
    assert holds("age > 99")[2] and holds("not age > 99")[2] and holds("sex == male")[2]


def test_fixed_combinations() -> None:
    seen = (((0.0, 0.0), (1.0, 1.0), (MISSING, 2.0)),)
    table = TABLE.replace(rules=("fixed: sex, stage",), combinations=seen)
    assert Rules(table).hold(CELLS).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    "rule",
    [
        "age >",
        "age",
        "agee > 3",
        "age > 3 3",
        "sex < female",
        "sex == nobody",
        "sex + 1 > 2",
        "age >= __import__('os')",
        "age.__class__ == 1",
        "fixed: sex",
        "fixed: sex, nothing",
        "(" * 500 + "age > 1",
        "age > 1 " * 2000,
        "stage in I",
        "",
        "€",
    ],
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(SpecError, match="rule"):
        Rules(TABLE.replace(rules=(rule,)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sex=female", [True, False, False, False]),
        ("sex = female, age>20", [True, False, False, False]),
        ("age>=17,age<65", [True, True, False, False]),
        ("age != 17", [True, False, False, True]),
        ("income=>50K", [False, True, False, True]),
        ("income in ['>50K', \"a, b\"]", [False, True, True, True]),
        ("income='a, b'", [False, False, True, False]),
        ("stage>I", [False, True, True, True]),
        ("age is missing", [False, False, True, False]),
        ("age is not missing,stage=III", [False, False, False, True]),
        ("day>2020-01-01", [False, False, False, True]),
        ("b-c=2", [True, True, False, False]),
        ("sex=MALE", [False, True, False, True]),
    ],
)
def test_conditions_hold_for_these_rows(text: str, expected: list[bool]) -> None:
    assert meets(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sx=female", "unknown column 'sx': did you mean 'sex'"),
        ("sex=femal", "did you mean 'female'"),
        ("age=old", "holds numbers"),
        ("age>1000", "no row can meet age>1000"),
        ("age>60,age<50", "no row can meet age>60, age<50"),
        ("age>50,age<=50", "no row can meet"),
        ("age=5.5", "no row can meet"),
        ("sex=female,sex=male", "no row can meet"),
        ("age is missing,age>5", "no row can meet"),
        ("stage is missing", "has no missing cells"),
        ("sex>female", "have no order"),
        ("sex", "unknown column"),
        ("sex=female,", "takes conditions"),
        ("sex in [female", "takes conditions"),
        ("day=tomorrow", "holds dates as"),
        ("", "takes conditions"),
    ],
)
def test_conditions_that_cannot_be_met_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(text, TABLE)
    assert said in str(caught.value)


def test_cells_that_a_condition_fixes() -> None:
    cells, fixed = parse_where("sex=male,age=30,day>1980-01-01", TABLE).exact(TABLE)
    assert fixed.tolist() == [True, False, False, True, False, False, False]
    assert cells[[0, 3]].tolist() == [30.0, 1.0]
