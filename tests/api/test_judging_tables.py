"""Synthetic tables are judged through the public functions and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import morphogen as mg
from morphogen.cli.main import app

pytest.importorskip("polars")


def write(path: Path, n: int, seed: int, related: bool = True) -> Path:
    """A table of numbers, a category and a class, with missing cells; without relations if not `related`."""
    rng = np.random.default_rng(seed)
    ill = rng.random(n) < 0.4
    age = np.round(50.0 + 10.0 * rng.standard_normal(n) + 8.0 * ill)
    score = np.where(ill, 1.5, -1.5) + 0.5 * rng.standard_normal(n)
    dose = np.exp(0.02 * (age - 50.0) + 0.3 * rng.standard_normal(n))
    site = np.array(["north", "south", "None"])[np.minimum(2, rng.poisson(0.5 + ill))]
    columns = [age, score.round(2), dose.round(3), site, np.where(ill, "yes", "no")]
    if not related:
        columns = [rng.permutation(column) for column in columns]
    lines = ["age,score,dose,site,ill"]
    for i, cells in enumerate(zip(*columns, strict=True)):
        texts = [str(cell) for cell in cells]
        texts[2] = "" if i % 9 == 0 else texts[2]
        lines.append(",".join([str(int(cells[0])), *texts[1:]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tables")
    return f"{write(folder / 'real.csv', 900, 0)}:target=ill,test=0.45,validation=0"


def test_rows_of_another_program_get_a_verdict_and_figures(real: str, tmp_path: Path) -> None:
    found = mg.evaluate_samples(write(tmp_path / "made.csv", 400, 1), real)
    assert found.verdict is not None and found.verdict.useful in ("useful", "partly useful")
    assert found.verdict.private == "private against the attacks tried"
    assert {"accuracy", "two_sample", "membership", "missingness"} <= {r.name for r in found}
    assert len(found.figures()) == 3 and found.verdict.private in found._repr_html_()
    assert json.loads(found.save(tmp_path / "found.json").read_text())["verdict"]["useful"] == found.verdict.useful


def test_the_command_line_says_the_verdict_and_writes_the_page(real: str, tmp_path: Path) -> None:
    made, page = write(tmp_path / "made.csv", 400, 2, related=False), tmp_path / "page.html"
    done = CliRunner().invoke(app, ["evaluate-samples", str(made), "--data", real, "--out", str(page)])
    assert done.exit_code == 0, done.output
    assert "not useful" in done.output and "private against the attacks tried" in done.output
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == 3 and "not useful" in text and "Verdict" in text


def test_metrics_of_other_kinds_are_refused_by_name(real: str, tmp_path: Path) -> None:
    made = write(tmp_path / "made.csv", 100, 3)
    with pytest.raises(mg.UsageError, match=r"'fd' does not apply to tables; these do: .*accuracy"):
        mg.evaluate_samples(made, real, ["fd"])
    with pytest.raises(mg.UsageError, match="does not apply to records"):
        mg.evaluate_samples({"x": np.zeros((50, 8, 8), np.uint8)}, "digits", ["nearest"])


def test_order_does_not_matter(real: str, tmp_path: Path) -> None:
    made = write(tmp_path / "made.csv", 300, 4)
    head, *rows = made.read_text(encoding="utf-8").splitlines()
    other = tmp_path / "other.csv"
    other.write_text("\n".join([head, *reversed(rows)]) + "\n", encoding="utf-8")
    metrics = ["accuracy", "nearest"]
    ours, theirs = (mg.evaluate_samples(path, real, metrics) for path in (made, other))
    assert [r.value for r in ours] == [r.value for r in theirs]
