"""The schema of a table and its two views: each has its inverse, and probabilities sum and integrate to one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from morphogen.core.column_views import (
    cells_of,
    cells_of_codes,
    codes_of,
    intervals,
    log_slope,
    log_within_bins,
    real_view,
    score,
    share_of,
    shares,
)
from morphogen.core.columns import FEW, MAX_BINS, MAX_VALUES, Column, Table, quantiles_of
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.rng import Rng
from tests.columns import of_numbers

N = 2000
NAN = math.nan


def values_of(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {
        "age": draw.integers(17, 91, N).astype(float),
        "gain": np.where(draw.random(N) < 0.9, 0.0, np.round(draw.exponential(5000.0, N))),
        "temperature": np.round(draw.normal(37.0, 0.7, N), 1),
        "day": 86400.0 * draw.integers(8000, 20000, N),
        "real": draw.normal(0.0, 3.0, N),
    }


def table_of(values: dict[str, np.ndarray]) -> Table:
    steps = {"age": 1.0, "gain": 1.0, "temperature": 0.1, "day": 86400.0, "real": 0.0}
    missing = {"temperature": 0.2, "real": 0.1}
    numbers = tuple(
        of_numbers(name, v, steps[name], "datetime" if name == "day" else "number", missing=missing.get(name, 0))
        for name, v in values.items()
    )
    return Table(
        columns=(
            *numbers,
            Column(name="test", type="category", values=("Norm", "None", ">7"), missing=0.3),
            Column(name="sex", type="boolean", values=("female", "male")),
        ),
        target="sex",
    )


def cells_in(table: Table, values: dict[str, np.ndarray], seed: int = 1) -> Tensor:
    draw = np.random.default_rng(seed)
    cells = np.stack([*values.values(), draw.integers(0, 3, N), draw.integers(0, 2, N)], 1).astype(float)
    for j, column in enumerate(table.columns):
        cells[draw.random(N) < column.missing, j] = NAN
    return torch.from_numpy(cells)


VALUES = values_of()
TABLE = table_of(VALUES)
CELLS = cells_in(TABLE, VALUES)
NUMBERS = [j for j, column in enumerate(TABLE.columns) if column.is_number]


def test_a_real_view_is_inverted_to_the_digit() -> None:
    x = real_view(TABLE, CELLS, dtype=torch.float64)
    assert x.shape == (N, TABLE.width) and float(x.min()) >= -1.0 and float(x.max()) <= 1.0
    back = cells_of(TABLE, x)
    exact = [j for j, column in enumerate(TABLE.columns) if not column.is_number or column.resolution]
    assert torch.equal(back[:, exact].nan_to_num(-9.0), CELLS[:, exact].nan_to_num(-9.0))
    torch.testing.assert_close(back, CELLS, rtol=0.0, atol=1e-7, equal_nan=True)  # nine digits of a range of 20


def test_a_float32_view_keeps_every_multiple_of_a_resolution() -> None:
    back = cells_of(TABLE, real_view(TABLE, CELLS))
    exact = [j for j, column in enumerate(TABLE.columns) if not column.is_number or column.resolution]
    assert torch.equal(back[:, exact].nan_to_num(-9.0), CELLS[:, exact].nan_to_num(-9.0))


def test_dithered_numbers_decode_to_the_same_cells() -> None:
    """Every place in the interval that a value owns is that value."""
    u = Rng(3).uniform("dither", N, (len(TABLE.columns),), torch.float64)
    x = real_view(TABLE, CELLS, u, torch.float64)
    torch.testing.assert_close(cells_of(TABLE, x), CELLS, rtol=0.0, atol=1e-7, equal_nan=True)


def test_dithered_training_values_are_standard_normal_scores() -> None:
    u = Rng(3).uniform("dither", N, (len(TABLE.columns),), torch.float64)
    x = real_view(TABLE, CELLS, u, torch.float64)
    for j in NUMBERS:
        g = x[~CELLS[:, j].isnan(), TABLE.slices[j].start] * 3.5
        gap = np.abs(np.sort(torch.special.ndtr(g).numpy()) - (np.arange(len(g)) + 0.5) / len(g)).max()
        assert gap < 1.63 / math.sqrt(len(g)), TABLE.columns[j].name  # Kolmogorov's distance at 1 %


def test_missing_cells_are_zero_with_a_flag_and_a_value_of_their_own() -> None:
    x = real_view(TABLE, CELLS)
    j = TABLE.names.index("temperature")
    g, m = x[:, TABLE.slices[j]].T
    absent = CELLS[:, j].isnan()
    assert absent.any() and (g[absent] == 0).all() and (m[absent] == 1).all() and (m[~absent] == -1).all()
    block = x[:, TABLE.slices[TABLE.names.index("test")]]
    assert torch.equal(block.sum(1), torch.full((N,), -2.0))  # one of four is 1, the others -1
    assert torch.equal(block[:, 3] > 0, CELLS[:, -2].isnan())


def test_the_category_none_is_no_missing_cell() -> None:
    cells = CELLS[:2].clone()
    cells[:, -2] = torch.tensor([1.0, NAN])
    x = real_view(TABLE, cells)[:, TABLE.slices[-2]]
    assert x.tolist() == [[-1, 1, -1, -1], [-1, -1, -1, 1]]


def test_scores_and_shares_are_inverse() -> None:
    u = torch.linspace(0.0, 1.0, 4001, dtype=torch.float64)
    torch.testing.assert_close(share_of(score(u)), u, rtol=0, atol=1e-12)
    assert score(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)).tolist() == [-1.0, 0.0, 1.0]
    torch.testing.assert_close(score(u), -score(1.0 - u), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["age", "gain", "temperature", "day"])
def test_intervals_of_neighbors_meet_and_cover_everything(name: str) -> None:
    """The probabilities of all multiples of the resolution sum to one, under any density on [-1, 1]."""
    column = TABLE[name]
    alone = Table(columns=(column.replace(missing=0.0),))
    count = round((column.high - column.low) / column.resolution) + 1
    grid = torch.arange(count, dtype=torch.float64)[:, None] * column.resolution + column.low
    low, high = intervals(alone, grid)
    assert float(low[0]) == -1.0 and float(high[-1]) == 1.0
    torch.testing.assert_close(low[1:], high[:-1], rtol=0, atol=1e-12)
    below, above = shares(alone, grid)
    assert float((above - below).sum()) == pytest.approx(1.0, abs=1e-12)
    assert bool((above >= below).all())


def test_the_quantile_map_integrates_to_one_and_its_slope_is_its_derivative() -> None:
    alone = Table(columns=(TABLE["real"].replace(missing=0.0),))
    column = alone.columns[0]
    knots = torch.tensor(column.quantiles[0], dtype=torch.float64)
    v = (0.6 * knots[1:] + 0.4 * knots[:-1])[:, None].requires_grad_()
    x = real_view(alone, v, dtype=torch.float64)
    (slope,) = torch.autograd.grad(x.sum(), v)
    torch.testing.assert_close(log_slope(alone, v.detach()).exp(), slope, rtol=1e-8, atol=0.0)
    # The uniform density on [-1, 1] becomes the density 0.5 g'(v): by Gauss and Legendre's rule between each two knots.
    places, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(200))
    half = (knots[1:] - knots[:-1])[:, None] / 2.0
    inside = (knots[:-1, None] + half * (places + 1.0)).reshape(-1, 1)
    mass = (half * weights).reshape(-1, 1) * 0.5 * log_slope(alone, inside).exp()
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-9)


def test_codes_are_inverted_into_the_same_bin() -> None:
    codes = codes_of(TABLE, CELLS)
    limits = torch.tensor(TABLE.codes)
    assert codes.dtype == torch.int64 and bool(((codes >= 0) & (codes < limits)).all())
    for dither in (None, Rng(4).uniform("bins", N, (len(TABLE.columns),), torch.float64)):
        assert torch.equal(codes_of(TABLE, cells_of_codes(TABLE, codes, dither)), codes)
    assert torch.equal(cells_of_codes(TABLE, codes).isnan(), CELLS.isnan())


def test_few_values_have_a_bin_each() -> None:
    age, test = TABLE.names.index("age"), TABLE.names.index("test")
    assert TABLE.codes[age] == 74 and TABLE.codes[test] == 4 and max(TABLE.codes) <= MAX_BINS + 1
    back = cells_of_codes(TABLE, codes_of(TABLE, CELLS))
    assert torch.equal(back[:, age], CELLS[:, age])
    gain = TABLE.names.index("gain")
    zero = CELLS[:, gain] == 0
    assert bool((back[zero, gain] == 0).all())  # a value with much mass is alone in its bin


def test_values_within_a_bin_have_the_probability_that_drawing_gives_them() -> None:
    column = TABLE["gain"]
    alone = Table(columns=(column,))
    code = torch.full((200_000, 1), 40)
    drawn = cells_of_codes(alone, code, Rng(5).uniform("bins", len(code), (1,), torch.float64))
    found, counts = drawn.unique(return_counts=True)
    mass = float(log_within_bins(alone, code[:1]).exp())
    assert len(found) == round(1.0 / mass)
    expected = len(code) * mass
    assert float(((counts - expected) ** 2 / expected).sum()) < len(found) + 5.0 * math.sqrt(2.0 * len(found))


def test_the_masses_within_all_bins_sum_to_the_number_of_bins() -> None:
    column = TABLE["gain"]
    alone = Table(columns=(column,))
    grid = torch.arange(column.low, column.high + 1, dtype=torch.float64)[:, None]
    mass = log_within_bins(alone, codes_of(alone, grid)).exp()
    assert float(mass.sum()) == pytest.approx(alone.codes[0], rel=1e-12)


@pytest.mark.parametrize("resolution", [1.0, 0.0])
@pytest.mark.parametrize("n", [1, 7, 30, 500, 20_000])
def test_no_piece_between_others_tells_of_fewer_than_five_records(n: int, resolution: float) -> None:
    values = np.random.default_rng(n).normal(0.0, 50.0, n)
    values = np.round(values) if resolution else np.append(values, values[0] + 1.0)
    fitted = quantiles_of(values, resolution)
    knots, levels = np.array(fitted["knots"]), np.array(fitted["levels"])
    assert (np.diff(knots) > 0).all() and (np.diff(levels) > 0).all() and len(knots) <= MAX_BINS + 1
    assert levels[0] == 0 and levels[-1] == 1
    inside = np.histogram(values, knots)[0]
    shared = {v for v, count in zip(*np.unique(values, return_counts=True), strict=True) if count >= FEW}
    for count, low, high in zip(inside, knots[:-1], knots[1:], strict=True):
        beside = any(abs(end - (v + s * resolution / 2)) < 1e-6 for v in shared for end in (low, high) for s in (-1, 1))
        assert count >= FEW or beside or len(inside) == 1 or n < 2 * FEW


def test_levels_are_the_shares_of_the_training_values() -> None:
    fitted = quantiles_of(VALUES["gain"], 1.0)
    for knot, level in zip(fitted["knots"], fitted["levels"], strict=True):
        assert np.mean(VALUES["gain"] < knot) == pytest.approx(level, abs=2e-3)


def test_ranges_by_hand_need_no_knots() -> None:
    table = Table(columns=(Column(name="a", type="number", low=0.0, high=100.0, public=True),))
    v = torch.tensor([[0.0], [25.0], [50.0], [100.0]], dtype=torch.float64)
    below, _ = shares(table, v)
    assert below[:, 0].tolist() == [0.0, 0.25, 0.5, 1.0]
    assert torch.equal(codes_of(table, v)[:, 0], torch.tensor([0, 32, 64, 127]))


def test_a_real_number_that_many_records_hold_comes_back() -> None:
    values = np.concatenate((np.full(600, 0.75), np.random.default_rng(0).normal(size=400)))
    alone = Table(columns=(of_numbers("p", values),))
    u = Rng(6).uniform("draw", 4000, (1,), torch.float64)
    back = cells_of(alone, score(u))[:, 0]
    assert float((back == 0.75).double().mean()) == pytest.approx(0.6, abs=4 * math.sqrt(0.24 / 4000))


def test_numbers_out_of_range_come_to_its_ends() -> None:
    x = torch.tensor([[-7.0], [7.0]])
    alone = Table(columns=(TABLE["age"],))
    assert cells_of(alone, x)[:, 0].tolist() == [alone.columns[0].low, alone.columns[0].high]


def test_tenths_stay_tenths() -> None:
    column = Column(name="t", type="number", low=0.0, high=1.0, resolution=0.1)
    back = cells_of(Table(columns=(column,)), torch.linspace(-1.0, 1.0, 101)[:, None])
    assert set(back[:, 0].tolist()) == {k / 10 for k in range(11)}


def test_a_data_spec_encodes_and_decodes_cells() -> None:
    spec = DataSpec(name="t", shape=(TABLE.width,), kind="columns", table=TABLE)
    x = spec.encode(CELLS)
    assert x.dtype == torch.float32
    spec.check(x)
    torch.testing.assert_close(spec.decode(x), CELLS, rtol=1e-5, atol=1e-5, equal_nan=True)
    again = DataSpec.parse_stored(spec.to_dict())
    assert again == spec and torch.equal(again.encode(CELLS), x)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": ("a", "a")}, "each once"),
        ({"values": ()}, "needs values"),
        ({"type": "number"}, "takes a range"),
        ({"type": "number", "values": ()}, "low must be below high"),
        ({"type": "number", "values": (), "high": 2.0, "knots": (0.0, 1.5)}, "knots must rise from 0 to 2"),
        ({"type": "number", "values": (), "high": 2.0, "knots": (0.0, 3.0, 2.0)}, "knots must rise"),
        ({"type": "number", "values": (), "high": 2.0, "knots": (0, 2), "levels": (0, 0.5)}, "levels must rise"),
        ({"type": "number", "values": (), "high": float("inf")}, "finite"),
        ({"rare": (2,)}, "places among its 2 values"),
        ({"values": tuple(map(str, range(MAX_VALUES + 1)))}, "at most 4,096 values"),
        ({"missing": 1.5}, "less than or equal to 1"),
    ],
)
def test_impossible_columns_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        Column.parse({"name": "c", "type": "category", "values": ("a", "b"), **change})


def test_impossible_tables_are_refused() -> None:
    column = Column(name="c", type="boolean", values=("0", "1"))
    for change, said in (
        ({"columns": ()}, "needs columns"),
        ({"columns": (column, column)}, "each name once"),
        ({"target": "d"}, "none of the columns"),
    ):
        with pytest.raises(SpecError, match=said):
            Table.parse({"columns": (column,), **change})
    with pytest.raises(SpecError, match="needs a table"):
        DataSpec.parse({"name": "t", "shape": (2,), "kind": "columns"})
    with pytest.raises(SpecError, match="2 elements"):
        DataSpec.parse({"name": "t", "shape": (3,), "kind": "columns", "table": Table(columns=(column,))})
