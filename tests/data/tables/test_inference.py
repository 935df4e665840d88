"""What a table's columns are taken for, and what is left out."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morphogen.core.columns import Column, Table
from morphogen.data import Dataset, load

pl = pytest.importorskip("polars")
N = 200


def column(values: list[Any], tmp_path: Path, options: str = "") -> Column:
    """The column x of a CSV with these cells, beside one of random numbers."""
    table = loaded({"x": values}, tmp_path, options).spec.table
    assert table is not None
    return table["x"]


def loaded(columns: dict[str, list[Any]], tmp_path: Path, options: str = "") -> Dataset:
    n = len(next(iter(columns.values())))
    other = np.random.default_rng(0).normal(size=n).round(3).tolist()
    pl.DataFrame({**columns, "other": other}, strict=False).write_csv(tmp_path / "t.csv")
    return load(f"{tmp_path / 't.csv'}:validation=0,test=0{options}")


def left_out(values: list[Any], tmp_path: Path, name: str = "x") -> str | None:
    table = loaded({name: values}, tmp_path).spec.table
    assert table is not None
    return {gone.name: gone.reason for gone in table.left_out}.get(name)


def table_of(data: Dataset) -> Table:
    assert data.spec.table is not None
    return data.spec.table


@pytest.mark.parametrize(
    ("cell", "kind", "resolution", "form"),
    [
        (lambda i: i * 7 % 101, "integer", 1.0, ""),
        (lambda i: 10 * (i * 7 % 101), "integer", 10.0, ""),
        (lambda i: f"{i * 7 % 101}.0", "integer", 1.0, "0.0"),
        (lambda i: f"{(i * 7 % 101) / 10:.1f}", "number", 0.1, "0.0"),
        (lambda i: f"{(i * 7 % 101) / 4:.2f}", "number", 0.25, "0.00"),
        (lambda i: f"{(i * 7 % 101) / 10:.1f}".replace(".", ","), "number", 0.1, "0,0"),
        (lambda i: f"{i * 7 % 101}e-3", "number", 0.001, "0.###"),
        (lambda i: 1.0 / (i + 1), "number", 0.0, ""),
    ],
)
def test_numbers_keep_their_step_and_the_way_they_are_written(
    cell: Any, kind: str, resolution: float, form: str, tmp_path: Path
) -> None:
    found = column([cell(i) for i in range(N)], tmp_path)
    assert (found.type, found.resolution, found.format) == (kind, resolution, form)


@pytest.mark.parametrize(
    ("values", "kind", "order"),
    [
        ([0, 1], "boolean", ("0", "1")),
        (["no", "yes"], "boolean", ("no", "yes")),
        (["TRUE", "FALSE"], "boolean", ("FALSE", "TRUE")),
        ([3, 7, 6], "ordinal", ("3", "6", "7")),
        (["1.0", "2.0"], "ordinal", ("1.0", "2.0")),
        (["[10-20)", "[0-10)", "[90-100)"], "ordinal", ("[0-10)", "[10-20)", "[90-100)")),
        (["$25-$50k", ">$50k", "$11-$25k"], "ordinal", ("$11-$25k", "$25-$50k", ">$50k")),
        (["under $11k", "b", "a"], "category", ("a", "b", "under $11k")),
        (["Norm", "None", ">7"], "category", (">7", "None", "Norm")),
        (["007", "010", "011"], "category", ("007", "010", "011")),
    ],
)
def test_values_keep_their_order(values: list[Any], kind: str, order: tuple[str, ...], tmp_path: Path) -> None:
    found = column([values[i % len(values)] for i in range(N)], tmp_path)
    assert (found.type, found.values, found.missing) == (kind, order, 0.0)


def test_dates_and_times_are_found_with_their_step(tmp_path: Path) -> None:
    days = [date(2020, 1 + i % 12, 1 + i % 28) for i in range(N)]
    found = column([day.isoformat() for day in days], tmp_path)
    assert (found.type, found.resolution, found.format) == ("datetime", 86400.0, "%Y-%m-%d")
    assert found.low == datetime.fromisoformat("2020-01-01T00:00:00+00:00").timestamp()
    german = column([day.strftime("%d.%m.%Y") for day in days], tmp_path)
    assert (german.type, german.format, german.low) == ("datetime", "%d.%m.%Y", found.low)
    times = column([f"{day.isoformat()}T{i % 24:02}:30:00" for i, day in enumerate(days)], tmp_path)
    assert (times.type, times.resolution) == ("datetime", 60.0)


@pytest.mark.parametrize(
    ("cell", "name", "said"),
    [
        (lambda i: i + 17, "x", "identifier"),
        (lambda i: 1000 + 3 * i * i, "patient_id", "identifier"),
        (lambda i: f"A{i:05}", "x", "identifier"),
        (lambda i: f"the patient came {i} times and was well", "x", "free text"),
        (lambda i: "same", "x", "same value"),
        (lambda i: None, "x", "all cells are missing"),
        (lambda i: 1000 + 3 * i * i, "charges", None),
        (lambda i: f"word {i % 9}", "x", None),
    ],
)
def test_what_cannot_be_modeled_is_left_out_with_its_reason(
    cell: Any, name: str, said: str | None, tmp_path: Path
) -> None:
    found = left_out([cell(i) for i in range(N)], tmp_path, name)
    assert (said is None and found is None) or (said is not None and found is not None and said in found)


def test_a_type_that_is_asked_for_wins(tmp_path: Path) -> None:
    codes = [i % 30 for i in range(N)]
    assert column(codes, tmp_path).type == "integer"
    asked = column(codes, tmp_path, ",category=x")
    assert asked.type == "category" and asked.values[:3] == ("0", "1", "2") and len(asked.values) == 30
    assert column([i + 1 for i in range(N)], tmp_path, ",keep=x").type == "integer"


def test_missing_cells_are_empty_ones_and_those_that_are_named(tmp_path: Path) -> None:
    words = [["a", "None", "?", ""][i % 4] for i in range(N)]
    found = column(words, tmp_path)
    assert found.values == ("?", "None", "a") and found.missing == 0.25
    named = column(words, tmp_path, ",missing=?")
    assert named.values == ("None", "a") and named.missing == 0.5
    numbers = column([["7", "NA", "12.5", "?"][i % 4] if i % 3 else str(i) for i in range(N)], tmp_path)
    assert numbers.type == "number" and 0.3 < numbers.missing < 0.4


def test_rare_values_and_extremes_are_known(tmp_path: Path) -> None:
    values = ["rare"] * 4 + ["five"] * 5 + ["often"] * (N - 9)
    found = column(values, tmp_path)
    assert [found.values[place] for place in found.rare] == ["rare"]
    numbers = column([(i * 37 % N) * 3 for i in range(N - 1)] + [99_999], tmp_path)
    assert numbers.high == 99_999 and numbers.common is not None and numbers.common[1] < 3 * N


def test_a_frame_keeps_its_types(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "whole": rng.integers(0, 99, N),
            "real": rng.normal(size=N),
            "flag": rng.random(N) < 0.5,
            "day": [date(2020, 1, 1 + i % 28) for i in range(N)],
            "word": pl.Series([["a", "b", None][i % 3] for i in range(N)], dtype=pl.Categorical),
        }
    )
    table = table_of(load(frame))
    assert [c.type for c in table.columns] == ["integer", "number", "boolean", "datetime", "category"]
    frame.write_parquet(tmp_path / "t.parquet")
    assert table_of(load(tmp_path / "t.parquet")) == table
