"""The verbs walk, directions and edit-latent: what they pass on, what they write, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphogen.cli.main import run
from morphogen.report.sheets import to_bytes
from tests.cli.fake_api import DIGITS, MODEL, POINTS, FakeApi, digits

EDIT = ["edit-latent", "m", "cat.png", "--direction", "smile"]


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize("suffix", [".gif", ".apng"])
def test_a_walk_is_an_endless_animation(api: FakeApi, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"walk{suffix}"
    line = ["walk", "m", "--frames", "6", "--stops", "3", "--fps", "10", "--seed", "4", "--truncation", "0.7"]
    assert run([*line, "--class", "3", "--out", str(out)]) == 0
    expected = {"model": MODEL, "frames": 6, "stops": 3, "seed": 4, "label": "3", "truncation": 0.7}
    assert api.told("walk") == expected
    with Image.open(out) as animation:
        assert getattr(animation, "n_frames", 1) == 6 and animation.info["loop"] == 0
        durations = []
        for i in range(6):
            animation.seek(i)
            durations.append(animation.info["duration"])
    assert durations == [100] * 6  # the last one, too: the first is next


def test_a_walk_is_a_sheet_with_a_row_for_each_stop_or_arrays(api: FakeApi, tmp_path: Path) -> None:
    line = ["walk", "m", "--frames", "8", "--stops", "2", "--out"]
    assert run([*line, str(tmp_path / "a.png")]) == 0 and run([*line, str(tmp_path / "a.npz")]) == 0
    width, height = size(tmp_path / "a.png")
    assert width > 1.8 * height
    with Image.open(tmp_path / "a.png") as image:
        recipe = json.loads(image.info["morphogen"])
    assert recipe["verb"] == "walk" and recipe["frames"] == 8 and recipe["stops"] == 2 and "version" in recipe
    assert np.array_equal(np.load(tmp_path / "a.npz")["x"], digits(8).x)
    api.spec = POINTS
    assert run([*line, str(tmp_path / "b.gif")]) == 2 and not (tmp_path / "b.gif").exists()
    assert run([*line, str(tmp_path / "b.npz")]) == 0


def test_directions_are_a_table_and_a_file(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["directions", "m"]) == 0
    assert api.told("directions") == {"model": MODEL}
    out = tmp_path / "d.npz"
    assert run(["directions", "m", "--data", "faces", "--factors", "1", "--n", "99", "--out", str(out)]) == 0
    assert api.told("directions") == {"model": MODEL, "data": "faces", "factors": 1, "n": 99}
    with np.load(out) as kept:
        assert kept["names"].tolist() == ["factor-1", "smile"] and np.array_equal(kept["vectors"], np.eye(2))
    said = capsys.readouterr().out
    (line,) = {line for line in said.splitlines() if line.strip().startswith("smile")}
    assert line.split() == ["smile", "0.900", "0.850", "to", "0.950", "250", "chance", "0.5"]
    assert "nan" not in said and "warning: too few have a hat" in said and f"wrote {out}" in said


def test_directions_as_json(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["directions", "m", "--data", "faces", "--json"]) == 0
    measured = {"name": "smile", "ordered": 0.9, "interval": [0.85, 0.95], "n": 250, "baseline": 0.5}
    expected = {"directions": [{"name": "factor-1"}, measured], "warnings": ["too few have a hat"]}
    assert json.loads(capsys.readouterr().out) == expected


def test_one_edit_is_a_picture_of_its_own_size(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.png"
    assert run([*EDIT, "--strength", "-1.5", "--directions", "d.npz", "--class", "3", "--out", str(out)]) == 0
    expected = {"image": Path("cat.png"), "direction": ["smile"], "strength": [-1.5], "directions": Path("d.npz")}
    assert api.told("edit_latent") == {"model": MODEL, **expected, "label": "3"}
    with Image.open(out) as image:
        assert np.array_equal(np.array(image), to_bytes(digits(1).x, DIGITS)[0, 0])
        recipe = json.loads(image.info["morphogen"])
    assert recipe["direction"] == ["smile"] and recipe["strength"] == [-1.5] and recipe["directions"] == "d.npz"
    said = capsys.readouterr().out
    assert "off by 12.34 of 255 (root mean square; the mean of its samples: 56.78)" in said
    assert "warning: it smiles already" in said


def test_several_edits_are_a_strip_or_arrays(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [*EDIT, "--direction", "hat", "--strength=-3,0,3,6", "--json", "--out"]
    assert run([*line, str(tmp_path / "a.png")]) == 0
    expected = {"out": str(tmp_path / "a.png"), "n": 8, "rmse": 12.34, "rmse_of_mean_picture": 56.78}
    assert json.loads(capsys.readouterr().out) == {**expected, "warnings": ["it smiles already"]}
    width, height = size(tmp_path / "a.png")
    assert width > 1.5 * height
    assert run([*line, str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as kept:
        assert kept["x"].shape == (8, 1, 8, 8) and kept["strength"].tolist() == [-3, 0, 3, 6]
        assert kept["direction"].tolist() == ["smile", "hat"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["walk", "m", "--out", "x.mp4"], "known are FILE.gif, FILE.apng, FILE.png,"),
        (["walk", "m"], "--out"),
        (["walk", "m", "--out", "x.gif", "--stops", "1"], "--stops"),
        (["walk", "m", "--out", "x.gif", "--fps", "0"], "--fps"),
        (["walk", "m", "--out", "x.gif", "--frames", "5"], "at least as many frames"),
        (["directions", "m", "--out", "x.csv"], "known are FILE.npz"),
        (["directions", "m", "--n", "9"], "--n"),
        (["directions", "m", "--factors", "-1"], "--factors"),
        ([*EDIT, "--out", "x.gif"], "known are FILE.png, FILE.jpg, FILE.jpeg, FILE.webp, FILE.npz"),
        ([*EDIT, "--out", "x.png", "--strength", "much"], "such as 3 or -3,0,3 (got 'much')"),
        (["edit-latent", "m", "cat.png", "--out", "x.png"], "--direction"),
    ],
)
def test_wrong_usage_does_nothing(
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
