"""The verbs edit, upscale and restore: what they pass on, what they write, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morphogen.cli.main import run
from morphogen.report.sheets import to_bytes
from tests.cli.fake_api import DIGITS, MODEL, FakeApi, digits


def recipe(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        found: dict[str, Any] = json.loads(image.info["morphogen"])
        return found


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_an_edit_is_a_picture_of_its_own_size(api: FakeApi, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    line = ["edit", "m", "cat.png", "--mask", "mask.png", "--strength", "0.4", "--class", "3", "--steps", "7"]
    assert run([*line, "--out", str(out)]) == 0
    expected = {"image": Path("cat.png"), "mask": Path("mask.png"), "label": "3", "strength": 0.4, "steps": 7}
    assert api.told("edit") == {"model": MODEL, **expected}
    assert np.array_equal(pixels(out), to_bytes(digits(1).x, DIGITS)[0, 0])
    said = recipe(out)
    assert said["verb"] == "edit" and said["image"] == "cat.png" and said["mask"] == "mask.png"
    assert said["strength"] == 0.4 and said["class"] == "3" and said["steps"] == 7 and "version" in said


def test_an_edit_takes_words(api: FakeApi, tmp_path: Path) -> None:
    line = [
        "edit",
        "m",
        "cat.png",
        "--text",
        "a (red:1.5) cat",
        "--negative",
        "a dog",
        "--out",
        str(tmp_path / "a.png"),
    ]
    assert run(line) == 0
    said = recipe(tmp_path / "a.png")
    for found in (api.told("edit"), said):
        assert (found["text"], found["negative"]) == ("a (red:1.5) cat", "a dog")


def test_several_edits_are_a_sheet_files_or_arrays(api: FakeApi, tmp_path: Path) -> None:
    line = ["edit", "m", "cat.png", "--n", "5", "--seed", "2", "--tiles"]
    for out in ("a.png", "a.npz", "a/"):
        assert run([*line, "--out", str(tmp_path / out)]) == 0
        assert api.told("edit")["n"] == 5 and api.told("edit")["tiles"] is True
    assert np.array_equal(np.load(tmp_path / "a.npz")["x"], digits(5).x)
    assert min(pixels(tmp_path / "a.png").shape[:2]) > 8
    files = sorted((tmp_path / "a").iterdir())
    assert [f.name for f in files] == [f"0000{i}.png" for i in range(5)]
    assert recipe(files[3])["index"] == 3 and recipe(files[3])["seed"] == 2


@pytest.mark.parametrize(
    ("line", "given"),
    [
        (["upscale", "--scale", "2"], {"scale": 2}),
        (["restore", "--degradation", "blur1"], {"degradation": "blur1"}),
        (["restore"], {}),
    ],
)
def test_a_restoration_comes_with_its_uncertainty(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: list[str], given: dict[str, Any]
) -> None:
    out = tmp_path / "big.png"
    verb, *options = line
    assert run([verb, "m", "cat.png", *options, "--n", "3", "--out", str(out)]) == 0
    assert api.told(verb) == {"model": MODEL, "image": Path("cat.png"), **given, "n": 3}
    assert np.array_equal(pixels(out), to_bytes(digits(3).x, DIGITS)[1, 0])
    shades = pixels(tmp_path / "big-uncertainty.png")
    assert shades.shape == (8, 8) and shades[0, 0] == 0 and shades[0, -1] == 255
    # 4 of 16 levels are 63.75 of 255, and that is white
    said = recipe(tmp_path / "big-uncertainty.png")
    assert said["white"] == pytest.approx(63.75) and said["shows"] == "standard deviation"
    assert recipe(out)["shows"] == "mean" and recipe(out)["verb"] == verb
    assert "white is a standard deviation of 63.8" in capsys.readouterr().out
    assert run([verb, "m", "cat.png", *options, "--sample", "--n", "3", "--out", str(out), "--overwrite"]) == 0
    assert np.array_equal(pixels(out), to_bytes(digits(3).x, DIGITS)[0, 0])
    assert recipe(out)["shows"] == "sample 0"


def test_arrays_hold_everything(api: FakeApi, tmp_path: Path) -> None:
    assert run(["upscale", "m", "cat.png", "--out", str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as found:
        assert set(found.files) == {"samples", "mean", "stddev", "uncertainty", "seed"}
        assert len(found["samples"]) == 8 and found["uncertainty"].shape == (8, 8)
    assert [f.name for f in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("verb", ["edit", "upscale", "restore"])
def test_json_is_all_that_stdout_holds(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert run([verb, "m", "cat.png", "--out", str(tmp_path / "a.png"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["out"] == str(tmp_path / "a.png")
    assert verb == "edit" or (said["uncertainty"], said["n"]) == (str(tmp_path / "a-uncertainty.png"), 8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["upscale", "m", "cat.png", "--out", "x.bmp"], "known are FILE.png, FILE.jpg, FILE.jpeg, FILE.webp, FILE.npz"),
        (["upscale", "m", "cat.png", "--out", "x.npz", "--sample"], "arrays hold all samples"),
        (["upscale", "m", "cat.png", "--out", "x.png", "--scale", "1"], "--scale"),
        (["upscale", "m", "cat.png", "--out", "x.png", "--n", "1"], "--n"),
        (["edit", "m", "--out", "x.png"], "IMAGE"),
        (["edit", "m", "cat.png"], "--out"),
        (["restore", "m", "cat.png", "--out", "x/"], "FILE.webp, FILE.npz"),
    ],
)
def test_wrong_usage_draws_nothing(
    api: FakeApi,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Error: ") and words in err
    assert api.calls == [] and list(tmp_path.iterdir()) == []


def test_neither_file_is_replaced_unasked(api: FakeApi, tmp_path: Path) -> None:
    beside = tmp_path / "a-uncertainty.png"
    beside.write_bytes(b"precious")
    line = ["upscale", "m", "cat.png", "--out", str(tmp_path / "a.png")]
    assert run(line) == 2 and api.calls == []
    assert beside.read_bytes() == b"precious" and not (tmp_path / "a.png").exists()
    assert run([*line, "--overwrite"]) == 0
    assert recipe(beside)["shows"] == "standard deviation"
