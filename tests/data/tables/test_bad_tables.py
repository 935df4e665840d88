"""Bad tables: each is a clear error with column and row, or the behavior that is stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from morphogen.core.errors import MorphogenError
from morphogen.data import load
from morphogen.data.tables.options import TableOptions
from morphogen.data.tables.source import from_file

pl = pytest.importorskip("polars")
DATES = "x,y\n" + "".join(f"{i},2020-{1 + i % 12:02}-10\n" for i in range(60))
WORDS = "x,y\n" + "".join(f"{i % 7},v{i % 5000}\n" for i in range(12_000))
SECRET = "a-cell-of-a-real-row"


def rows(*cells: str, n: int = 60) -> str:
    return "\n".join([*cells, *(f"{i * 7 % 31},{['a', 'b', 'c'][i % 3]}" for i in range(n))]) + "\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("\n1\n2\n", "the first line is empty"),
        ("\r\na,b\r\n1,2\r\n", "the first line is empty"),
        ("x,y\n", "there is no record"),
        ("x,y\n1,a\n", "no column is left to model"),
        ("x\n" + "5\n" * 50, "no column is left to model"),
        ("x,y\n" + ",\n" * 50, "all cells are missing"),
        ("x,x\n1,2\n", "several columns are called x"),
        (rows("x,y", "1,a,5"), "row 1 has 3 cells and the header 2 names"),
        (rows("x,y", "1"), "row 1 has 1 cells and the header 2 names"),
        (rows("x,y", '1,"a'), "cannot be read"),
        ("x,y\n1,\0\n", "NUL"),
        (rows("x,y", "inf,a"), "column 'x', row 1: the number is infinite"),
        (rows("x,y", "1e999,a"), "column 'x', row 1: the number is infinite"),
        (
            "x,y\n" + "".join(f"{i},2020-{1 + i % 12:02}-10\n" for i in range(60)) + "7,2020-13-45\n",
            "column 'y', row 61",
        ),
        ("x,y\n" + "".join(f"{i % 7},0{1 + i % 9}/0{1 + i % 8}/2020\n" for i in range(60)), "cannot be told apart"),
        ("x,y\n" + "".join(f'{i % 7},"{1 + i},{i:03}"\n' for i in range(60)), "decimal=comma or decimal=point"),
        (
            "x,y\n" + "".join(f"{i % 7},v{i % 5000}\n" for i in range(12_000)),
            "5,000 different values, and at most 4,096",
        ),
    ],
)
def test_it_says_what_is_wrong(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(MorphogenError) as caught:
        load(tmp_path / "t.csv")
    assert said in str(caught.value)


def test_an_error_shows_no_cell(tmp_path: Path) -> None:
    given = rows("x,y", *(f"{i},z" for i in range(9))) + f"{SECRET},b\n"
    (tmp_path / "t.csv").write_text(given)
    with pytest.raises(MorphogenError, match="column 'x', row 70: expected a number") as caught:
        load(f"{tmp_path / 't.csv'}:integer=x")
    assert SECRET not in str(caught.value)


def test_a_wrong_delimiter_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(rows("x,y"))
    with pytest.raises(MorphogenError, match=r"only one column is found.*delimiter=comma"):
        load(f"{tmp_path / 't.csv'}:delimiter=semicolon")
    (tmp_path / "t.csv").write_text(rows("x,y").replace(",", "|"))
    assert load(tmp_path / "t.csv").spec.table is not None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_name(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(rows("x,y").replace("a", "ä").encode(encoding))
    table = load(tmp_path / "t.csv").spec.table
    assert table is not None and table.names == ("x", "y") and "ä" in table["y"].values
    (tmp_path / "t.csv").write_bytes(rows("x,y", "1,ä").encode("latin-1"))
    with pytest.raises(MorphogenError, match="line 2 is no UTF-8 text"):
        load(tmp_path / "t.csv")


def test_quotes_and_line_breaks_belong_to_cells(tmp_path: Path) -> None:
    cells = ['"one\nline, and ""another"""', '"two"', "three"]
    text = "x,y\n" + "".join(f"{i * 7 % 31},{cells[i % 3]}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(text)
    data = load(f"{tmp_path / 't.csv'}:validation=0,test=0")
    assert data.spec.table is not None and len(data.train) == 60
    assert data.spec.table["y"].values == ('one\nline, and "another"', "three", "two")


def test_numbers_among_which_stands_a_word_are_a_category_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(rows("x,y", "V57,a"))
    data = load(tmp_path / "t.csv")
    assert data.spec.table is not None and data.spec.table["x"].type == "category"
    assert any("'x' holds numbers and 1 other values, the first in row 1" in note for note in data.notes)


def test_rules_that_contradict_each_other_or_the_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(rows("x,y"))
    schema = tmp_path / "t.schema.yaml"
    schema.write_text("rules: [x >= 18, x < 10]")
    with pytest.raises(MorphogenError, match=r"no row keeps all rules.*'x >= 18' by \d+, 'x < 10' by \d+"):
        load(tmp_path / "t.csv")
    schema.write_text("rules: [x >= 18]")
    assert any("rows break the rules" in note for note in load(tmp_path / "t.csv").notes)


def test_one_huge_number_among_missing_cells_is_a_value(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{'1e20' if i % 2 else ''},{i * 7 % 31}\n" for i in range(60)))
    table = load(f"{tmp_path / 't.csv'}:validation=0,test=0").spec.table
    assert table is not None and table["x"].values == ("1e20",) and table["x"].missing == 0.5
    with pytest.raises(MorphogenError, match="column 'y', row 1: the value lies outside its range"):
        (tmp_path / "t.schema.yaml").write_text("columns: {y: {low: 50, high: 0}}")
        load(tmp_path / "t.csv")


def test_a_frame_of_mixed_types_is_refused() -> None:
    class Mixed:
        """As pandas has them: a column of Python objects."""

    frame: Any = pl.DataFrame({"x": [1, 2, 3], "y": [[1], [2], [3]]})
    with pytest.raises(MorphogenError, match="column 'y' has the type List"):
        load(frame)
    pd = pytest.importorskip("pandas")
    with pytest.raises(MorphogenError, match="column 'x' mixes types: row 3 holds text"):
        load(pd.DataFrame({"x": [1, 2, "three"], "y": [1, 2, 3]}))


def test_nearly_all_missing_is_kept_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = [f"{rng.normal():.2f}" if i % 30 == 0 else "" for i in range(600)]
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{c},{i * 7 % 31}\n" for i, c in enumerate(cells)))
    data = load(f"{tmp_path / 't.csv'}:validation=0,test=0")
    assert data.spec.table is not None
    assert data.spec.table["x"].missing == pytest.approx(29 / 30)
    assert data.spec.decode(data.train.batch().x)[:, 0].isnan().sum() == 580


def test_broken_parquet_and_gz_are_errors(tmp_path: Path) -> None:
    for name in ("t.parquet", "t.csv.gz"):
        (tmp_path / name).write_bytes(b"PAR1 this is none")
        with pytest.raises(MorphogenError, match=name):
            from_file(tmp_path / name, TableOptions())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("target=z", "unknown column 'z'"),
        ("group=z", "unknown column 'z'"),
        ("split=z", "unknown column 'z'"),
        ("drop=z", "unknown column 'z'"),
        ("targt=y", "unknown option 'targt'"),
        ("schema_file=nowhere.yaml", "there is no schema file"),
        ("integer=y", "column 'y', row 1: expected a number"),
        ("datetime=x", "no format of dates fits"),
        ("target=y,drop=y", "the target 'y' cannot be modeled: as asked"),
    ],
)
def test_wrong_options_are_errors(options: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(rows("x,y"))
    with pytest.raises(MorphogenError) as caught:
        load(f"{tmp_path / 't.csv'}:{options}")
    assert said in str(caught.value)
