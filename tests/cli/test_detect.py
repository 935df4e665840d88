"""The verb detect: what it asks of the API, what it writes and says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from morphogen.cli.main import run
from tests.cli.fake_api import FakeApi


def test_every_flag_reaches_the_api(api: FakeApi, tmp_path: Path) -> None:
    line = ["detect", "m", "--data", "new", "--normal", "usual", "--alpha", "0.1", "--score", "likelihood", "--compare"]
    (tmp_path / "m").mkdir()
    line[1] = str(tmp_path / "m")
    more = ["--confidence", "0.9", "--known", "bad", "--window", "16", "--reference", "old", "--split", "test"]
    assert run([*line, *more, "--seed", "3", "--out", f"{tmp_path}/out/"]) == 0
    told = api.told("detect")
    wanted = {"data": "new", "normal": "usual", "alpha": 0.1, "score": "likelihood", "compare": True, "seed": 3}
    wanted |= {"confidence": 0.9, "known": "bad", "window": 16, "reference": "old", "split": "test"}
    assert {name: told[name] for name in wanted} == wanted


def test_it_writes_a_folder_once(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["detect", "--data", "new", "--normal", "usual", "--out", f"{tmp_path}/out/"]
    assert run(line) == 0
    said = capsys.readouterr().out
    assert "1 alarms among 4 records by neighbors" in said and "warning: few records" in said
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"detections.csv", "detections.json", "report.html", "sheet.png"}
    assert (tmp_path / "out" / "detections.csv").read_text().splitlines()[1] == "0,9,0.01,1"
    assert run(line) == 2 and "holds a detection" in capsys.readouterr().err
    assert run([*line, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["alarms"] == 1


def test_wrong_numbers_are_refused_before_any_work(api: FakeApi, tmp_path: Path) -> None:
    assert run(["detect", "--data", "new", "--window", "two", "--out", f"{tmp_path}/out/"]) == 2
    assert api.named() == []
