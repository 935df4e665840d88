"""Rows that are given out: drawn again until they keep the rules, and exact given that they do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from morphogen.applications.imputation import mean_and_spread
from morphogen.applications.synthesis import MOST_PER_ROW, accepted, balanced_places, without_extremes
from morphogen.core.columns import Column, Table
from morphogen.core.errors import UsageError
from morphogen.core.rng import Rng
from morphogen.data.tables.where import parse_where

TABLE = Table(
    columns=(
        Column(name="age", type="integer", high=99.0, resolution=1.0, common=(10.0, 90.0), missing=0.1),
        Column(name="sex", type="boolean", values=("female", "male")),
        Column(name="site", type="category", values=("a", "b", "rare"), rare=(2,)),
    ),
    rules=("age >= 18",),
)


def draw(rows: int, offset: int) -> Tensor:
    """Independent columns: age uniform or missing (a tenth), a fifth male, site a, b, rare as 6 : 3 : 1."""
    rng = Rng(1, offset=offset)
    u = rng.uniform("u", rows, (4,), torch.float64)
    age = torch.where(u[:, 3] < 0.1, math.nan, (u[:, 0] * 100).floor())
    return torch.stack(
        (age, (u[:, 1] < 0.2).double(), torch.bucketize(u[:, 2].contiguous(), torch.tensor([0.6, 0.9]).double())), 1
    )


def test_rows_keep_the_rules_and_hold_no_rare_value() -> None:
    made = accepted(draw, 3000, TABLE)
    age, _, site = made.cells.T
    assert bool(((age >= 18) | age.isnan()).all()) and bool((site < 2).all()) and float(age.nan_to_num(0).max()) == 90.0
    assert made.drawn > 3000 and set(made.refused) >= {"the rules of the table", "rare values"}
    assert sum(made.refused.values()) >= made.drawn * 0.2
    assert any("drawn again because of rare values" in note for note in made.notes())


def test_the_rows_are_those_of_the_model_given_the_conditions() -> None:
    """Rejection is exact: the shares of what remains are those of the model, divided by what is allowed."""
    n = 20_000
    made = accepted(draw, n, TABLE, parse_where("site=b, age>50", TABLE))
    age, sex, site = made.cells.T
    assert bool((site == 1).all()) and bool((age > 50).all())
    assert float(sex.mean()) == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / n))
    # 51 .. 89 have a hundredth each; what lies above 90 has become 90
    assert float((age == 90).double().mean()) == pytest.approx(10 / 49, abs=4 * math.sqrt(0.17 / n))


def test_more_rows_begin_with_fewer() -> None:
    where = parse_where("sex=male", TABLE)
    assert torch.equal(
        accepted(draw, 50, TABLE, where).cells.nan_to_num(-1),
        accepted(draw, 900, TABLE, where).cells[:50].nan_to_num(-1),
    )


def test_balanced_values_are_equally_frequent() -> None:
    made = accepted(draw, 1001, TABLE, balance=(1, {0: 501, 1: 500}))
    assert made.cells[:, 1].sum() == 500 and len(made.cells) == 1001
    assert balanced_places(TABLE, "site", allow_rare=False) == [0, 1]
    assert balanced_places(TABLE, "site", allow_rare=True) == [0, 1, 2]


def test_rare_values_come_out_if_they_are_asked_for() -> None:
    made = accepted(draw, 2000, TABLE, allow_rare=True)
    assert bool((made.cells[:, 2] == 2).any()) and float(made.cells[:, 0].nan_to_num(0).max()) == 99.0


def test_it_gives_up_with_the_reason() -> None:
    def only_children(rows: int, offset: int) -> Tensor:
        return torch.tensor([[5.0, 0.0, 0.0]], dtype=torch.float64).repeat(rows, 1)

    with pytest.raises(UsageError, match=r"only 0 of [\d,]+ rows .* the rules of the table"):
        accepted(only_children, 10, TABLE.replace(columns=(TABLE.columns[0].replace(common=None), *TABLE.columns[1:])))
    assert MOST_PER_ROW > 100


def test_extremes_come_to_the_fifth_value() -> None:
    cells = torch.tensor([[0.0, 1.0, 0.0], [95.0, 0.0, 1.0], [math.nan, 0.0, 1.0]], dtype=torch.float64)
    assert without_extremes(cells, TABLE)[:, 0].nan_to_num(-1).tolist() == [10.0, 90.0, -1.0]


def test_wrong_columns_to_balance() -> None:
    for column, said in (("age", "holds numbers"), ("sx", "unknown column 'sx'")):
        with pytest.raises(UsageError, match=said):
            balanced_places(TABLE, column, False)


def test_means_and_spreads_of_draws() -> None:
    drawn = torch.tensor([[[10.0, 0.0, 1.0]], [[13.0, 0.0, 1.0]], [[14.0, 1.0, 1.0]]], dtype=torch.float64)
    cells, spread = mean_and_spread(drawn, TABLE)
    assert cells.tolist() == [[12.0, 0.0, 1.0]]  # 37 / 3 at the resolution
    assert spread[0].tolist() == pytest.approx([math.sqrt(13 / 3), 1 / 3, 0.0])
