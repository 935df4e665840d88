"""The models of the package: whole, small, found by their names, and never changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import morphogen as mg
from morphogen import artifact
from morphogen.cli.main import run
from morphogen.core.shipped import FOLDER, is_shipped, located, names
from morphogen.core.tensor_header import read_header

each = pytest.mark.parametrize("name", ["emoji", "portraits"])


def test_all_of_them_are_small() -> None:
    assert names() == ["emoji", "portraits"]
    assert sum(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= 3_000_000


@each
def test_each_is_whole_licensed_and_of_16_bits(name: str) -> None:
    assert artifact.verified(FOLDER / name).unlisted == []
    with open(FOLDER / name / "weights.safetensors", "rb") as file:
        assert {held.dtype for held in read_header(file).tensors.values() if held.is_floating} == {"F16"}
    model = mg.load(name)
    assert model.data.license and model.data.text is not None
    assert {p.dtype for p in model.module.parameters()} == {torch.float32}


@each
def test_each_draws_different_things_for_different_words(name: str) -> None:
    prompts = {
        "emoji": ["red heart", "blue heart"],
        "portraits": ["a person with dark skin", "a person with light skin"],
    }
    pictures = mg.load(name).draw(prompts[name], n=2, seed=1, steps=8).pixels.astype(float)
    same, other = abs(pictures[0] - pictures[1]).mean(), abs(pictures[:2] - pictures[2:]).mean()
    assert other > same, "the words count for more than the noise"


def test_the_red_one_is_red_and_the_blue_one_is_blue() -> None:
    red, blue = mg.load("emoji").draw(["red heart", "blue heart"], n=1, seed=1, steps=10).pixels[:, :, 12:20, 10:22]
    assert red[0].mean() > red[2].mean() + 60
    assert blue[2].mean() > blue[0].mean() + 60


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_shipped(located("emoji")) and not is_shipped(located("runs/emoji"))
    (tmp_path / "emoji").mkdir()
    assert located("emoji") == Path("emoji")
    with pytest.raises(mg.ArtifactError, match="manifest"):
        mg.load("emoji")


def test_the_command_line_knows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["draw", "emoji", "red heart", "--n", "1", "--steps", "3", "--out", str(tmp_path / "heart.png")]
    assert run(line) == 0
    assert run(["recall", str(tmp_path / "heart.png"), "--out", str(tmp_path / "again.png")]) == 0
    drawn, again = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("heart", "again"))
    assert drawn.std() > 20 and np.array_equal(drawn, again)
    assert run(["show", "emojis"]) != 0
    assert "emoji or portraits of the package" in capsys.readouterr().err


def test_no_numbers_are_added_to_them() -> None:
    before = mg.fingerprint("emoji")
    with pytest.raises(mg.ArtifactError, match="keeps no numbers"):
        artifact.write_evaluation(FOLDER / "emoji", "FD", {"value": 1.0})
    assert mg.fingerprint("emoji") == before
