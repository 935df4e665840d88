"""The verb alignment: what it passes on, what it writes, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from morphogen.cli.main import run
from tests.cli.fake_api import MODEL, FakeApi


def test_a_model_is_asked_as_told(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["alignment", "m", "--data", "shapes", "--n", "50", "--seed", "3", "--guidance", "2.5", "--steps", "9"]
    assert run([*line, "--only", "test, test_withheld", "--precision", "auto"]) == 0
    assert api.named() == ["evaluate_alignment"]
    assert api.told("evaluate_alignment") == {
        "model": MODEL,
        "data": "shapes",
        "only": ["test", "test_withheld"],
        "n": 50,
        "seed": 3,
        "precision": "auto",
        "guidance": 2.5,
        "steps": 9,
    }
    said = capsys.readouterr().out
    assert "21.4" in said and "left out fd: too few" in said and "warning: copying: 5 %" in said


def test_samples_of_others_are_judged_and_json_is_pure(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alignment", "--samples", "made.npz", "--data", "shapes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["name"] == "nll"
    assert api.told("evaluate_alignment") == {"model": None, "data": "shapes", "samples": "made.npz"}


def test_results_a_page_and_the_drawings_are_written(api: FakeApi, tmp_path: Path) -> None:
    for suffix in ("json", "html", "npz"):
        assert run(["alignment", "m", "--data", "shapes", "--out", str(tmp_path / f"found.{suffix}")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["data"] == "shapes"
    page = (tmp_path / "found.html").read_text()
    assert "nearest" in page and page.count("<img") >= 1
    with np.load(tmp_path / "found.npz") as arrays:
        assert arrays["x"].shape == (10, 1, 8, 8) and arrays["captions"].tolist()[3] == "caption 3"


@pytest.mark.parametrize("line", [["--data", "shapes"], ["m", "--samples", "x.npz", "--data", "shapes"], ["m"]])
def test_wrong_usage_is_told_before_any_work(api: FakeApi, line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alignment", *line]) == 2
    assert api.calls == [] and "Error" in capsys.readouterr().err
    assert run(["alignment", "m", "--data", "shapes", "--out", "x.png"]) == 2
