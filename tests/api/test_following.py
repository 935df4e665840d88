"""A training as its folder tells it: while it runs, and afterwards."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import morphogen as mg
from morphogen.cli.main import run

RECIPE = {"steps": 60, "log_every": 5, "compile": "off", "sheet_seconds": 1e-6, "auto": False, "device": "cpu"}
TINY = {"hidden": [8], "latent_dim": 2}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """The folder of a training after its second event."""
    events: Iterator[Any] = mg.training("vae", "digits", tmp_path / "m", options=TINY, recipe=RECIPE)
    next(events)
    next(events)
    yield tmp_path / "m"
    events.close()  # type: ignore[attr-defined]


def test_a_training_that_runs_tells_where_it_stands_and_has_a_model(
    running: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = mg.follow(running)
    standing = found.standing
    assert (standing.step, standing.total, standing.ended) == (10, 60, False)
    assert standing.sheet is not None and standing.sheet.name == "step-0000010.png"
    assert str(found).startswith("training, step 10 of 60 after ")
    assert mg.load(running).sample(2, seed=1).x.shape == (2, 1, 8, 8)
    assert run(["show", str(running)]) == 0
    out = capsys.readouterr().out
    assert "training, step 10 of 60" in out and "latent_dim" in out
    page = found.save(running / "samples" / "watch.html").read_text()
    assert '<meta http-equiv="refresh" content="5">' in page and "step-0000010.png" in page


def test_the_page_and_the_curves_of_a_finished_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m"
    mg.train("vae", "digits", out, options=TINY, recipe=RECIPE)
    for file in ("c.png", "c.svg", "c.csv", "c.html"):
        assert run(["curves", str(out), "--out", str(tmp_path / file)]) == 0
    rows = list(csv.DictReader((tmp_path / "c.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(5, 65, 5))
    assert float(rows[-1]["distortion"]) > 0
    assert 'http-equiv="refresh"' not in (tmp_path / "c.html").read_text()
    assert run(["watch", str(out), "--page", str(tmp_path / "w.html")]) == 0
    assert "trained for 60 steps" in (tmp_path / "w.html").read_text()
    capsys.readouterr()


def test_what_is_no_training_is_said(tmp_path: Path) -> None:
    with pytest.raises(mg.DataError, match="holds no training"):
        mg.follow(tmp_path)


def test_a_file_of_options_trains_the_same_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, file = tmp_path / "a", tmp_path / "b", tmp_path / "options.yaml"
    mg.train("vae", "digits", first, options=TINY, recipe=RECIPE)
    capsys.readouterr()
    assert run(["show", str(first), "--config"]) == 0
    file.write_text(f"# of a\n{capsys.readouterr().out}")
    assert run(["train", "--config", str(file), "--out", str(second)]) == 0
    assert mg.load(first).weights_hash == mg.load(second).weights_hash
    assert run(["train", "--config", str(file), "--out", str(tmp_path / "c"), "--latent-dim", "3"]) == 0
    assert mg.describe(tmp_path / "c")["options"]["latent_dim"] == 3


@pytest.mark.parametrize(
    ("text", "said"), [("family vae", "line 1"), ("a: 1\na: 2", "line 2"), ("out: x", "belongs to")]
)
def test_a_bad_file_of_options_is_told(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o.yaml").write_text(text)
    assert run(["train", "vae", "--config", str(tmp_path / "o.yaml")]) == 2
    assert said in capsys.readouterr().err


def test_a_training_is_prolonged_and_a_start_inherits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "m"
    mg.train("vae", "digits", out, options=TINY, recipe={**RECIPE, "steps": 10})
    assert run(["train", "--resume", "--out", str(out), "--steps", "+7"]) == 0
    assert mg.describe(out)["provenance"]["steps"] == 17
    assert run(["train", "--resume", "--out", str(out), "--budget", "+1s"]) == 0
    assert mg.describe(out)["provenance"]["steps"] > 17
    assert run(["train", "--resume", "--out", str(out), "--steps", "+x"]) == 2
    assert run(["train", "vae", "--data", "digits", "--out", str(tmp_path / "n"), "--steps", "+5"]) == 2
    assert "add --resume" in capsys.readouterr().err
    mg.train("vae", "digits", tmp_path / "n", start=out, recipe={**RECIPE, "steps": 5})
    assert mg.describe(tmp_path / "n")["options"]["latent_dim"] == 2


def test_a_plan_is_told_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = mg.plan("vae", "digits", steps=200)
    assert (found.steps, found.batch_size, found.records) == (200, 64, 1398)
    assert found.seconds is not None and not found.hopeless
    assert run(["train", "vae", "--data", "digits", "--steps", "200", "--dry-run", "--out", str(tmp_path / "x")]) == 0
    assert "plan: 200 steps of 64, 9 passes over 1,398 pictures" in capsys.readouterr().out
    assert not (tmp_path / "x").exists()


def test_families_are_suggested_with_a_command_that_can_be_typed() -> None:
    (found,) = mg.suggest("digits", "1min", families=["vae"])
    assert found.command == "morphogen train vae --data digits --out runs/vae --budget 1min"
    assert found.expected and found.plan.steps > 0
