"""The verbs draw, recall and attention, from words to files and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import morphogen as mg
from morphogen.cli.main import run
from morphogen.report.sheets import sheet
from tests.toys import Toys

RED, GREEN = "a large red circle", "a small green square"


@pytest.fixture(scope="module")
def model(toy: Toys) -> Path:
    """Hardly trained, but it reads."""
    return toy("words")


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def recipe(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        found: dict[str, Any] = json.loads(image.text["morphogen"])
        return found


def changed(path: Path, out: Path, **changes: Any) -> Path:
    """The same pixels with another recipe."""
    info = PngInfo()
    info.add_text("morphogen", json.dumps({k: v for k, v in (recipe(path) | changes).items() if v is not ...}))
    with Image.open(path) as image:
        image.save(out, pnginfo=info)
    return out


def hwc(x: np.ndarray) -> np.ndarray:
    return x.transpose(1, 2, 0)


# ------------------------------------------------------------------------ draw


def test_one_picture_is_written_as_it_is(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["draw", str(model), RED, "--n", "1", "--seed", "3", "--steps", "2", "--negative", GREEN]
    assert run([*line, "--out", str(tmp_path / "a.png")]) == 0
    assert "wrote" in capsys.readouterr().out
    expected = mg.draw(model, RED, 1, 3, steps=2, negative=GREEN)
    assert np.array_equal(pixels(tmp_path / "a.png"), hwc(expected.x[0]))
    said = recipe(tmp_path / "a.png")
    wanted = {"verb": "draw", "prompts": [RED], "negative": GREEN, "seed": 3, "steps": 2, "n": 1, "exact": False}
    assert {name: said[name] for name in wanted} == wanted
    assert said["guidance"] == 4.0, "the default that was in effect"
    assert said["model"] == model.name and said["fingerprint"] == mg.fingerprint(model)
    assert {"version", "torch"} <= set(said)


def test_several_are_a_sheet_or_files(model: Path, tmp_path: Path) -> None:
    line = ["draw", str(model), "a large (red:1.5) circle", "--seed", "3"]
    expected = mg.draw(model, "a large (red:1.5) circle", seed=3)
    assert run([*line, "--out", str(tmp_path / "a.png")]) == 0
    assert np.array_equal(pixels(tmp_path / "a.png"), np.asarray(sheet(expected.x)))
    assert run([*line, "--out", f"{tmp_path}/a/"]) == 0
    files = sorted((tmp_path / "a").iterdir())
    assert [f.name for f in files] == [f"0000{i}.png" for i in range(4)]
    for i, file in enumerate(files):
        assert np.array_equal(pixels(file), hwc(expected.x[i])) and recipe(file)["index"] == i


def test_a_file_of_prompts_is_a_row_for_each(model: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text(f"# two\n{RED}\n\n  {GREEN}  \n", encoding="utf-8")
    line = ["draw", str(model), "--prompts", str(tmp_path / "prompts.txt"), "--n", "2"]
    assert run([*line, "--out", str(tmp_path / "a.png")]) == 0
    expected = mg.draw(model, [RED, GREEN], 2)
    assert np.array_equal(pixels(tmp_path / "a.png"), np.asarray(sheet(expected.x, columns=2, row_labels=[RED, GREEN])))
    assert recipe(tmp_path / "a.png")["prompts"] == [RED, GREEN]


def test_grids_and_ways_are_labeled_sheets(model: Path, tmp_path: Path) -> None:
    grid = ["draw", str(model), RED, "--grid", "guidance=1,2.5", "--out", str(tmp_path / "a.png")]
    assert run(grid) == 0
    x = mg.draw(model, RED, along={"guidance": [1.0, 2.5]}).x
    labels = {"row_labels": [RED], "column_labels": ["w=1", "w=2.5"]}
    assert np.array_equal(pixels(tmp_path / "a.png"), np.asarray(sheet(x, columns=2, **labels)))
    way = ["draw", str(model), RED, "--to", GREEN, "--frames", "3", "--n", "2", "--out", str(tmp_path / "b.png")]
    assert run(way) == 0
    x = mg.draw(model, RED, 2, to=GREEN, frames=3).x
    expected = np.asarray(sheet(x, columns=3, column_labels=["0", "0.5", "1"]))
    assert np.array_equal(pixels(tmp_path / "b.png"), expected)


def test_json_is_all_that_stdout_holds(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["draw", str(model), "a crimson circle", "--n", "2", "--json", "--out", str(tmp_path / "a.png")]
    assert run(line) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n"] == 2 and said["options"] == {"guidance": 4.0} and "crimson" in said["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "a prompt, or a file"),
        ([RED, "--prompts", "p.txt"], "one of the two"),
        (["--prompts", "nowhere.txt"], "expected prompts as text"),
        (["--prompts", "empty.txt"], "has no prompts"),
        ([RED, "--grid", "guidance=a"], "--grid takes"),
        ([RED, "--grid", "size=1,2"], "thing along a grid"),
        ([RED, "--grid", "seed=1,2", "--n", "3"], "leave out --n"),
        ([RED, "--negative", GREEN, "--guidance", "1"], "scale 1 is none"),
        (["a (red:x) circle"], "a number from 0 to 1000"),
        ([RED, "--truncation", "0.5"], "not sampled with 'truncation'"),
    ],
)
def test_wrong_usage_writes_nothing(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    assert run(["draw", str(model), *arguments, "--out", "x.png"]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Error: ") and words in err and not (tmp_path / "x.png").exists()


# ---------------------------------------------------------------------- recall


@pytest.mark.parametrize(
    ("exact", "line"),
    [
        (False, ["draw", RED, "--n", "1", "--negative", GREEN]),
        (True, ["draw", "a large (red:1.5) circle", "--n", "3", "--stepper", "ddpm"]),
        (False, ["draw", RED, "--grid", "guidance=1,2.5", "--negative", GREEN]),
        (True, ["draw", RED, "--grid", "seed=4,2"]),
        (False, ["draw", RED, "--to", GREEN, "--frames", "2", "--n", "2"]),
        (True, ["sample", "--n", "3", "--text", RED, "--guidance", "2"]),
    ],
)
def test_recall_draws_the_same_pixels(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    line: list[str],
    exact: bool,
) -> None:
    """A sheet, and each file of a folder by itself."""
    monkeypatch.setattr("morphogen.applications.sampling.CHUNK", 4)
    monkeypatch.setattr("morphogen.applications.prompt_grids.CHUNK", 4)
    verb, *options = line
    options += ["--seed", "5"] + ["--exact"] * exact
    assert run([verb, str(model), *options, "--out", str(tmp_path / "a.png")]) == 0
    assert run([verb, str(model), *options, "--out", f"{tmp_path}/a/"]) == 0
    for file in (tmp_path / "a.png", *sorted((tmp_path / "a").iterdir())):
        again = tmp_path / "again.png"
        capsys.readouterr()
        assert run(["recall", str(file), "--model", str(model), "--out", str(again), "--overwrite", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        difference = np.abs(pixels(file).astype(int) - pixels(again)).max()
        assert difference == said["largest_difference"] <= (0 if exact else 1) and said["exact"] is exact
        assert recipe(again) == recipe(file), "and can be recalled in turn"


@pytest.fixture
def drawn(model: Path, tmp_path: Path) -> Path:
    assert run(["draw", str(model), RED, "--n", "1", "--out", str(tmp_path / "drawn.png")]) == 0
    return tmp_path / "drawn.png"


def test_a_model_that_moved_is_found_by_what_it_is(
    model: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "b.png")
    gone = changed(drawn, tmp_path / "gone.png", model=str(tmp_path / "gone"))
    assert run(["recall", str(gone), "--out", out]) == 2
    assert "say with --model" in capsys.readouterr().err
    shutil.copytree(model, tmp_path / "moved")
    assert run(["recall", str(gone), "--out", out, "--model", str(tmp_path / "moved")]) == 0
    assert "the same pixels" in capsys.readouterr().out
    assert recipe(Path(out))["model"] == "moved", "and no path of its maker"
    beside = changed(drawn, tmp_path / "beside.png", model="moved")
    assert run(["recall", str(beside), "--out", out, "--overwrite"]) == 0
    for elsewhere in (str(model), "../" + model.name, "", "."):
        file = changed(drawn, tmp_path / "elsewhere.png", model=elsewhere)
        assert run(["recall", str(file), "--out", out, "--overwrite"]) == 2


def test_another_model_is_refused(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in mg.training("vae", "digits", tmp_path / "other", recipe={"steps": 1, "compile": "off"}):
        pass
    assert run(["recall", str(drawn), "--out", str(tmp_path / "b.png"), "--model", str(tmp_path / "other")]) == 1
    assert "is not the model that drew" in capsys.readouterr().err and not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 6}, "differs from"),
        ({"prompts": [GREEN]}, "differs from"),
        ({"n": 2, "index": None}, "of shape"),
        ({"steps": "many"}, "its recipe cannot be: steps"),
        ({"prompts": ...}, "its recipe cannot be: prompts"),
        ({"n": 10**12}, "its recipe cannot be: n"),
        ({"index": 2**63}, "its recipe cannot be: index"),
        ({"index": -1}, "its recipe cannot be: index"),
        ({"prompts": [RED] * 1000, "n": 1000}, "asks for 1,000,000 pictures"),
        ({"guidance": 1e300}, "its recipe cannot be: guidance"),
        ({"grid": {"model": [1]}}, "its recipe cannot be: grid"),
        ({"seed": True}, "its recipe cannot be: seed"),
        ({"index": 7}, "its recipe was changed"),
        ({"fingerprint": "0" * 64}, "is not the model that drew"),
        ({"fingerprint": ...}, "does not say which model"),
        ({"model": 5}, "its recipe cannot be: model"),
        ({"verb": "walk"}, "was made by `morphogen walk`"),
        ({"verb": ["draw"]}, "was made by"),
    ],
)
def test_recipes_that_were_changed_are_found_out(
    model: Path,
    drawn: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    words: str,
) -> None:
    file = changed(drawn, tmp_path / "changed.png", **changes)
    assert run(["recall", str(file), "--model", str(model), "--out", str(tmp_path / "b.png")]) == 1
    out, err = capsys.readouterr()
    assert words in err and "same pixels" not in out and "fault in morphogen" not in err


def test_pixels_that_were_changed_are_found_out(
    model: Path, drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info, other = PngInfo(), pixels(drawn)
    info.add_text("morphogen", json.dumps(recipe(drawn)))
    other[3, 4] ^= 128
    Image.fromarray(other).save(tmp_path / "other.png", pnginfo=info)
    assert run(["recall", str(tmp_path / "other.png"), "--model", str(model), "--out", str(tmp_path / "b.png")]) == 1
    assert "by up to 128 of 255" in capsys.readouterr().err


def test_files_without_a_recipe_are_refused(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, text, odd = (tmp_path / name for name in ("plain.png", "text.png", "odd.png"))
    Image.fromarray(pixels(drawn)).save(plain)
    text.write_text("no picture")
    info = PngInfo()
    info.add_text("morphogen", "[" * 10_000)
    Image.fromarray(pixels(drawn)).save(odd, pnginfo=info)
    for file, words in ((plain, "holds no recipe"), (text, "unreadable"), (odd, "no JSON object")):
        assert run(["recall", str(file), "--out", str(tmp_path / "b.png")]) == 1
        assert words in capsys.readouterr().err


# ------------------------------------------------------------------- attention


def test_attention_is_a_row_of_words_for_each_picture(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["attention", str(model), "a (large:0) red circle", "--n", "2", "--seed", "3", "--negative", GREEN]
    assert run([*line, "--out", str(tmp_path / "a.png")]) == 0
    assert "share of attention: a " in capsys.readouterr().out
    assert recipe(tmp_path / "a.png")["prompt"] == "a (large:0) red circle"
    assert run([*line, "--out", str(tmp_path / "a.npz"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    with np.load(tmp_path / "a.npz") as stored:
        assert stored["words"].tolist() == ["a", "red", "circle"] == [one["word"] for one in said["words"]]
        assert stored["maps"].shape == (2, 3, 16, 16)
        assert said["words"][1]["share"] == pytest.approx(float(stored["maps"][:, 1].mean()))
        assert np.array_equal(stored["x"], mg.draw(model, "a red circle", 2, 3, negative=GREEN).x)
    height, width = pixels(tmp_path / "a.png").shape[:2]
    assert height > 2 * 64 and width > 4 * 64, "the picture and three words"
    assert run(["attention", str(model), "", "--out", str(tmp_path / "b.png")]) == 2
    assert not (tmp_path / "b.png").exists()
