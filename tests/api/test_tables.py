"""Tables from Python and from the command line: synthetic rows, filled cells, and what is said about both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import morphogen as mg
from morphogen.cli.main import run
from morphogen.data import load
from tests.toys import Toys

pl = pytest.importorskip("polars")


def original() -> pl.DataFrame:  # type: ignore[valid-type]
    from morphogen.data.tables.writing import frame_of

    data = load("breast_cancer")
    assert data.spec.table is not None
    return frame_of(data.train.stored.numpy(), data.spec.table)


def with_holes(path: Path, n: int = 40) -> pl.DataFrame:  # type: ignore[valid-type]
    """Some rows with a column of their own, and a fifth of the cells of three columns missing."""
    rng = np.random.default_rng(0)
    frame = original().head(n).with_columns(pl.Series("note", [f"n{i}" for i in range(n)]))
    for name in ("mean_radius", "worst_area", "diagnosis"):
        hole = pl.Series(rng.random(n) < 0.2)
        frame = frame.with_columns(pl.when(hole).then(None).otherwise(pl.col(name)).alias(name))
    frame.write_csv(path)
    return frame


def test_rows_have_the_columns_types_and_order_of_the_original(toy: Toys, tmp_path: Path) -> None:
    rows = mg.synthesize(toy("rows"), n=60, seed=1)
    assert rows.frame.schema == original().schema and rows.frame.height == len(rows) == 60
    path = rows.save(tmp_path / "rows.csv")
    again = pl.read_csv(path)
    assert again.columns == original().columns
    assert pl.read_parquet(rows.save(tmp_path / "rows.parquet")).equals(rows.frame)
    assert load(rows.frame, like=rows.spec).spec.table == rows.spec.table
    assert "60 synthetic rows" in rows._repr_html_()


def test_rows_depend_on_the_seed_alone(toy: Toys) -> None:
    model = mg.load(toy("rows"))
    first = model.synthesize(n=30, seed=1)
    assert np.allclose(model.synthesize(n=50, seed=1, batch_size=7).cells[:30], first.cells)
    assert not np.array_equal(model.synthesize(n=30, seed=2).cells, first.cells)


def test_conditions_and_balance_hold(toy: Toys) -> None:
    for name in ("rows", "rows in any order"):
        rows = mg.synthesize(toy(name), n=20, where="mean_radius>10", balance="diagnosis")
        assert bool((rows.frame["mean_radius"] > 10).all())
        assert rows.frame["diagnosis"].value_counts()["count"].to_list() == [10, 10]


def test_a_condition_on_a_value_costs_nothing_where_rows_are_completed(toy: Toys) -> None:
    rows = mg.synthesize(toy("rows in any order"), n=20, where="diagnosis=malignant")
    assert rows.drawn == 20 and rows.frame["diagnosis"].unique().to_list() == ["malignant"]


def test_no_number_lies_beyond_the_fifth_value(toy: Toys) -> None:
    model = mg.load(toy("rows"))
    rows = model.synthesize(n=300)
    for j, column in enumerate(rows.table.columns):
        if column.common is not None:
            assert column.common[0] <= rows.cells[:, j].min() and rows.cells[:, j].max() <= column.common[1]


def test_cells_are_filled_in_and_given_ones_stay(toy: Toys, tmp_path: Path) -> None:
    given = with_holes(tmp_path / "holes.csv")
    filled = mg.impute(toy("rows in any order"), str(tmp_path / "holes.csv"), seed=1)
    assert filled.frame.columns == given.columns and filled.frame["note"].to_list() == given["note"].to_list()
    assert set(filled.filled) == {"mean_radius", "worst_area", "diagnosis"}
    made = pl.read_csv(filled.save(tmp_path / "filled.csv"))
    assert made.select(pl.all().null_count()).row(0) == (0,) * len(made.columns)
    for name in given.columns:
        known = given[name].is_not_null()
        assert made[name].filter(known).to_list() == given[name].filter(known).to_list()
    assert any("'note' is kept as it is" in note for note in filled.warnings)


def test_several_draws_and_their_mean(toy: Toys, tmp_path: Path) -> None:
    given = with_holes(tmp_path / "holes.csv")
    model = mg.load(toy("rows in any order"))
    draws = model.impute(given, draws=4, seed=1)
    assert draws.frame["draw"].unique().sort().to_list() == [1, 2, 3, 4] and len(draws) == 160
    holes = given["mean_radius"].is_null()
    spread = [draws.frame.filter(pl.col("draw") == k + 1)["mean_radius"].filter(holes).to_list() for k in range(4)]
    assert spread[0] != spread[1]
    mean = model.impute(given, draws=4, mean=True, seed=1)
    expected = np.mean(spread, axis=0)
    assert np.allclose(mean.frame["mean_radius"].filter(holes).to_list(), expected, atol=1e-3)
    assert np.allclose(
        mean.frame["mean_radius spread"].filter(holes).to_list(), np.std(spread, axis=0, ddof=1), atol=1e-3
    )
    assert mean.frame["mean_radius spread"].filter(~holes).null_count() == (~holes).sum()


def test_what_cannot_be_done_is_said(toy: Toys, tmp_path: Path) -> None:
    given = with_holes(tmp_path / "holes.csv")
    with pytest.raises(mg.CapabilityError, match="impute"):
        mg.impute(toy("rows"), given)
    with pytest.raises(mg.UsageError, match="several draws"):
        mg.impute(toy("rows in any order"), given, draws=1, mean=True)
    with pytest.raises(mg.UsageError, match="is no table"):
        mg.synthesize(toy("vae"), n=3)
    with pytest.raises(mg.UsageError, match="unknown column 'nothing'"):
        mg.synthesize(toy("rows"), n=3, where="nothing=1")
    with pytest.raises(mg.UsageError, match="no row can meet"):
        mg.synthesize(toy("rows"), n=3, where="mean_radius>1000000")
    with pytest.raises(mg.UsageError, match="ends in"):
        mg.synthesize(toy("rows"), n=3).save(tmp_path / "rows.xlsx")
    with pytest.raises(mg.UsageError, match="options of tables"):
        mg.load_data("digits", target="x")


def test_the_command_line(toy: Toys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out = str(toy("rows in any order")), tmp_path / "rows.csv"
    said = ["synthesize", model, "--n", "12", "--where", "diagnosis=benign", "--seed", "3", "--out", str(out)]
    assert run(said) == 0 and f"wrote {out}" in capsys.readouterr().out
    assert pl.read_csv(out)["diagnosis"].to_list() == ["benign"] * 12
    assert run(said) == 2 and "exists" in capsys.readouterr().err
    assert run([*said[:-1], str(tmp_path / "a.tsv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 12
    assert run(["sample", model, "--n", "5", "--out", str(tmp_path / "s.parquet")]) == 0
    assert pl.read_parquet(tmp_path / "s.parquet").schema == original().schema
    with_holes(tmp_path / "holes.csv")
    assert run(["impute", model, str(tmp_path / "holes.csv"), "--mean", "--out", str(tmp_path / "filled.csv")]) == 0
    assert "mean_radius spread" in pl.read_csv(tmp_path / "filled.csv").columns
    capsys.readouterr()
    assert run(["show", model]) == 0
    shown = capsys.readouterr().out
    assert "mean_radius" in shown and "diagnosis" in shown and len(shown) < 10_000
    card = (toy("rows in any order") / "card.md").read_text()
    assert "| columns | 31: 30 number, 1 category |" in card
    assert run(["synthesize", model, "--out", str(tmp_path / "x.png")]) == 2


def test_the_schema_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original().write_csv(tmp_path / "t.csv")
    schema = tmp_path / "t.schema.yaml"
    assert run(["data", "inspect", f"{tmp_path / 't.csv'}:target=diagnosis", "--schema", str(schema)]) == 0
    assert "mean_radius" in capsys.readouterr().out
    data = load(tmp_path / "t.csv")
    assert data.spec.table is not None and data.spec.table.target == "diagnosis"
    assert run(["data", "inspect", "digits", "--schema", str(tmp_path / "d.yaml")]) == 2
    assert "is no table" in capsys.readouterr().err
