"""The verb alignment: what it passes on, what it writes, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_api import DIGITS, EVALUATED, FakeApi

from morphogen.cli.main import run

HOW = {"guidance": None, "stepper": None, "steps": None, "truncation": None}


@pytest.fixture
def fake(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """With an `evaluate_alignment` of ten drawings, of which four are beside training pictures."""

    def aligned(*args: Any, **kwargs: Any) -> Any:
        api._note("evaluate_alignment", *args, **kwargs)
        bytes_ = DIGITS.replace(levels=256)
        return SimpleNamespace(
            drawn=SimpleNamespace(x=np.zeros((10, 1, 8, 8), np.uint8), spec=bytes_),
            nearest=SimpleNamespace(x=np.ones((4, 1, 8, 8), np.uint8), spec=bytes_),
            compared=np.array([0, 2, 4, 6]),
            captions=[f"caption {i}" for i in range(10)],
            to_dict=lambda: {"data": "shapes", **EVALUATED},
        )

    monkeypatch.setattr(api, "evaluate_alignment", aligned, raising=False)
    return api


def test_a_model_is_asked_as_told(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["alignment", "m", "--data", "shapes", "--n", "50", "--seed", "3", "--guidance", "2.5", "--steps", "9"]
    assert run([*line, "--only", "test, test_withheld", "--precision", "auto"]) == 0
    ((name, args, kwargs),) = fake.calls
    assert (name, args) == ("evaluate_alignment", (Path("m"), "shapes"))
    assert kwargs == {
        **HOW, "samples": None, "only": ["test", "test_withheld"], "n": 50, "seed": 3, "precision": "auto",
        "guidance": 2.5, "steps": 9,
    }  # fmt: skip
    said = capsys.readouterr().out
    assert "21.4" in said and "left out fd: too few" in said and "warning: copying: 5 %" in said


def test_samples_of_others_are_judged_and_json_is_pure(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alignment", "--samples", "made.npz", "--data", "shapes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["name"] == "nll"
    assert fake.calls[0][1] == (None, "shapes") and fake.calls[0][2]["samples"] == "made.npz"


def test_results_a_page_and_the_drawings_are_written(fake: FakeApi, tmp_path: Path) -> None:
    for suffix in ("json", "html", "npz"):
        assert run(["alignment", "m", "--data", "shapes", "--out", str(tmp_path / f"found.{suffix}")]) == 0
    assert json.loads((tmp_path / "found.json").read_text())["data"] == "shapes"
    page = (tmp_path / "found.html").read_text()
    assert "nearest" in page and page.count("<img") >= 1
    with np.load(tmp_path / "found.npz") as arrays:
        assert arrays["x"].shape == (10, 1, 8, 8) and arrays["captions"].tolist()[3] == "caption 3"


@pytest.mark.parametrize("line", [["--data", "shapes"], ["m", "--samples", "x.npz", "--data", "shapes"], ["m"]])
def test_wrong_usage_is_told_before_any_work(
    fake: FakeApi, line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["alignment", *line]) == 2
    assert fake.calls == [] and "Error" in capsys.readouterr().err
    assert run(["alignment", "m", "--data", "shapes", "--out", "x.png"]) == 2
