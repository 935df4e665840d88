"""Tables as sources: splits, groups, schema files, and what the cells become."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

import morphogen as mg
from morphogen.core.columns import Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, SpecError
from morphogen.data import Dataset, load
from morphogen.data.tables.writing import file_of

pl = pytest.importorskip("polars")
N = 300


def frame(n: int = N, seed: int = 0) -> pl.DataFrame:  # type: ignore[valid-type]
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, n // 3, n)
    return pl.DataFrame(
        {
            "patient": patient,
            "age": rng.integers(18, 90, n),
            "weight": np.where(rng.random(n) < 0.3, None, rng.normal(70, 9, n).round(1)).tolist(),
            "site": [["va", "basel", "None", None][k] for k in rng.integers(0, 4, n)],
            "died": rng.random(n) < 0.2,
        },
        strict=False,
    )


def table_of(data: Dataset | DataSpec) -> Table:
    table = data.table if isinstance(data, DataSpec) else data.spec.table
    assert table is not None
    return table


def in_split(data: Dataset) -> dict[int, str]:
    return {int(i): name for name, records in data.splits.items() for i in records.ids}


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.parquet"])
def test_a_table_is_the_same_in_every_format(name: str, tmp_path: Path) -> None:
    given = frame()
    path = tmp_path / name
    if name.endswith("parquet"):
        given.write_parquet(path)
    else:
        text = given.write_csv(separator="\t" if "tsv" in name else ",").encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    data, other = load(f"{path}:test=0,validation=0"), load(given)
    assert data.spec.kind == "columns" and data.spec.shape == (table_of(data).width,)
    everything = torch.cat([other.splits[s].stored for s in other.splits])
    ids = torch.cat([other.splits[s].ids for s in other.splits])
    torch.testing.assert_close(data.train.stored, everything[ids.argsort()], equal_nan=True)
    assert data.train.ids.tolist() == list(range(N)) and data.spec.name == "t"


def test_rows_of_one_group_stay_in_one_split() -> None:
    given = frame()
    data = load(given, given={"group": "patient", "target": "died"})
    patients = given["patient"].to_list()
    where: dict[int, set[str]] = {}
    for i, split in in_split(data).items():
        where.setdefault(patients[i], set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert set(data.splits) == {"train", "validation", "test"}
    assert "patient" not in table_of(data).names and table_of(data).group == "patient"
    assert table_of(data).target == "died"


def test_the_content_decides_the_split_and_not_the_order() -> None:
    given = frame()
    here = in_split(load(given))
    order = np.random.default_rng(1).permutation(N)
    there = in_split(load(given[order.tolist()]))
    assert {int(order[i]): split for i, split in there.items()} == here
    doubled = pl.concat([given, given])
    found = in_split(load(doubled))
    assert all(found[i] == found[i + N] for i in range(N))


def test_a_split_column_is_obeyed_and_not_modeled() -> None:
    split = [["train", "test", "val"][i % 3] for i in range(N)]
    data = load(frame().with_columns(pl.Series("split", split)))
    assert {name: len(records) for name, records in data.splits.items()} == {
        "train": 100,
        "validation": 100,
        "test": 100,
    }
    assert set(data.splits["test"].ids.tolist()) == set(range(1, N, 3))
    assert "split" not in table_of(data).names and table_of(data).split == "split"
    words = load(frame().with_columns(pl.Series("split", ["left", "right"] * (N // 2))))
    assert "split" in table_of(words).names  # no names of splits, so a column like others


def test_ranges_and_quantiles_are_those_of_the_training_rows() -> None:
    split = ["test" if i < 10 else "train" for i in range(N)]
    given = frame().with_columns(
        pl.Series("split", split), pl.Series("age", [900] * 10 + frame()["age"].to_list()[10:])
    )
    column = table_of(load(given))["age"]
    assert column.high < 90 and column.knots[-1] == column.high + 0.5


def test_fingerprints_tell_contents_apart() -> None:
    assert load(frame()).spec.fingerprint == load(frame()).spec.fingerprint
    assert load(frame()).spec.fingerprint != load(frame(seed=1)).spec.fingerprint


def test_other_rows_are_read_as_the_models_data_were(tmp_path: Path) -> None:
    spec = load(frame()).spec
    other = frame(seed=1).select("died", "site", "age", "patient", "weight").with_columns(pl.lit(1).alias("new"))
    other.write_csv(tmp_path / "other.csv")
    data = load(f"{tmp_path / 'other.csv'}:validation=0,test=0", like=spec)
    assert data.spec.table == spec.table and any("'new' is not read" in note for note in data.notes)
    assert data.train.batch().x.shape == (N, *spec.shape)
    with pytest.raises(DataError, match=r"column 'site', row 3: the value is none of the 3"):
        load(other.with_columns(pl.Series("site", ["va", "va", "elsewhere", *["va"] * (N - 3)])), like=spec)
    with pytest.raises(DataError, match="lacks a column of the model: unknown column 'age'"):
        load(other.drop("age"), like=spec)
    with pytest.raises(DataError, match="column 'age', row 2: the cell is missing"):
        ages = pl.Series("age", [44, None, *[50] * (N - 2)])
        load(other.with_columns(ages), like=spec)


def test_a_schema_file_is_written_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    frame().write_csv(path)
    text = mg.inspect_data(f"{path}:target=died,group=patient").schema
    (tmp_path / "patients.schema.yaml").write_text(text)
    table = table_of(load(path))
    assert table == table_of(load(f"{path}:target=died,group=patient,schema_file=none"))
    assert not any(column.public for column in table.columns), "the values were found in the records"
    changed = text.replace("rules: []", "rules: [age >= 18]").replace(
        "age: {type: integer,", "age: {type: number, high: 120,"
    )
    (tmp_path / "patients.schema.yaml").write_text(changed)
    found = table_of(load(path))
    assert found.rules == ("age >= 18",) and found["age"].public and found["age"].high == 120.0
    assert found["age"].type == "number" and found["age"].knots[-1] == 120.5
    assert table_of(load(f"{path}:schema_file=none")).rules == ()
    own = tmp_path / "own.yaml"
    own.write_text("columns: {site: {type: left_out}}")
    assert "site" not in table_of(load(f"{path}:schema_file={own}")).names
    assert "site" not in table_of(mg.load_data(str(path), schema=own)).names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("target: nothing", "unknown column 'nothing'"),
        ("columns: {agee: {type: integer}}", "unknown column 'agee'"),
        ("targt: died", "targt: this name is not known here"),
        ("columns: {age: {type: whole}}", "columns.age.type"),
        ("- a\n- b", "expected names and their values"),
        ("a: b: c", "cannot be read"),
        ("target: died\ntarget: age", "'target' is given twice"),
        ("columns: &a {age: *a}", "aliases and tags are not read"),
        ("target: !!python/name:os.system died", "aliases and tags are not read"),
        ("{" * 100, "cannot be read"),
        ("rules: [age >]", "rule 'age >'"),
        ("columns: {age: {low: 20, high: 30}}", "lies outside its range, 20 to 30"),
        ("columns: {site: {values: [va, basel]}}", "the value is none of the 2"),
        ("columns: {died: {type: datetime}}", "no format of dates fits"),
    ],
)
def test_a_wrong_schema_file_says_what_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    frame().write_csv(tmp_path / "t.csv")
    (tmp_path / "t.schema.yaml").write_text(text)
    with pytest.raises((DataError, SpecError), match="(?s)" + said.replace("[", r"\[").replace("(", r"\(")):
        load(tmp_path / "t.csv")


def test_no_cell_of_a_text_is_read_as_a_boolean_by_yaml(tmp_path: Path) -> None:
    answers = pl.DataFrame({"x": ["no", "yes", "on"] * 50, "y": np.random.default_rng(0).normal(size=150)})
    answers.write_csv(tmp_path / "t.csv")
    (tmp_path / "t.schema.yaml").write_text("columns: {x: {type: ordinal, values: [no, on, yes]}}")
    assert table_of(load(tmp_path / "t.csv"))["x"].values == ("no", "on", "yes")


def test_the_file_that_is_written_is_the_file_that_was_read(tmp_path: Path) -> None:
    given = frame().with_columns(pl.lit("x").alias("constant"), pl.Series("price", [f"{i % 7},50" for i in range(N)]))
    text = given.drop("patient").write_csv(separator=";")
    (tmp_path / "t.csv").write_text(text)
    data = load(f"{tmp_path / 't.csv'}:validation=0,test=0")
    assert file_of(data.train.stored.numpy(), table_of(data), ".csv").decode() == text
    typed = pl.read_parquet(file_of(data.train.stored.numpy(), table_of(data), ".parquet"))
    assert typed.columns == given.drop("patient").columns
    assert typed["age"].to_list() == given["age"].to_list() and typed["weight"].to_list() == given["weight"].to_list()


def test_fixed_combinations_are_learned(tmp_path: Path) -> None:
    given = frame().with_columns(
        pl.col("site").replace_strict({"va": "US", "basel": "CH"}, default="x").alias("country")
    )
    given.write_csv(tmp_path / "t.csv")
    (tmp_path / "t.schema.yaml").write_text("rules: ['fixed: site, country']")
    assert len(table_of(load(tmp_path / "t.csv")).combinations[0]) == 4


def test_an_inspection_shows_no_row_and_no_rare_value(tmp_path: Path) -> None:
    given = frame().with_columns(pl.Series("site", ["secret", *frame()["site"].to_list()[1:]]))
    given.write_csv(tmp_path / "t.csv")
    from morphogen.report.schemas import schema_facts, schema_rows

    found = mg.inspect_data(str(tmp_path / "t.csv"))
    table = found.to_dict()["spec"]["table"]
    shown = str(schema_rows(table)) + str(schema_facts(table)) + found._repr_html_()
    assert "secret" not in shown and "basel" in shown
    assert found.low is None


needs_sets = pytest.mark.skipif(not __import__("os").environ.get("MORPHOGEN_DATA"), reason="MORPHOGEN_DATA is not set")


@needs_sets
@pytest.mark.parametrize(
    ("source", "columns", "target"),
    [
        ("heart", 15, "num"),
        ("ilpd", 11, "disease"),
        ("heart_failure", 13, "DEATH_EVENT"),
        ("pbc", 13, None),
        ("pbc_patients", 5, "status"),
        ("support2", 47, "death"),
        ("adult:n=3000", 15, "income"),
        ("diabetes130:n=3000", 43, "readmitted"),
        ("adbench:what=wine", 14, "anomaly"),
    ],
)
def test_named_tables(source: str, columns: int, target: str | None) -> None:
    data = load(source)
    table = table_of(data)
    assert len(table.columns) + len(table.left_out) >= columns and table.target == target
    assert data.spec.license and "train" in data.splits
    data.spec.check(data.train.batch(slice(0, 100)).x)


def test_breast_cancer_is_embedded() -> None:
    data = load("breast_cancer")
    assert len(table_of(data).columns) == 31 and sum(len(r) for r in data.splits.values()) == 569
    assert table_of(data)["diagnosis"].values == ("benign", "malignant")


@needs_sets
def test_none_is_a_category_of_diabetes130() -> None:
    table = table_of(load("diabetes130:n=3000"))
    assert "None" in table["A1Cresult"].values and not table["A1Cresult"].has_missing
    assert table["weight"].missing > 0.9 and table.group == "patient"
    assert {"examide", "citoglipton"} <= {gone.name for gone in table.left_out}
