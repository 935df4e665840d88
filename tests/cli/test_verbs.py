"""The verbs: what they pass on, what they write, what they print, and how they fail."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morphogen import MorphogenError
from morphogen.cli.main import run
from morphogen.data import load
from morphogen.quickstart import next_commands
from morphogen.report.sheets import sheet, to_bytes
from tests.cli.fake_api import MODEL, POINTS, RESULT, FakeApi, Held

TRAIN = ["train", "vae", "--data", "digits", "--out", "runs/x"]


def test_train_passes_everything_on(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    extra = ["--steps", "3", "--seed", "7", "--preset", "classic", "--latent-dim", "4", "--hidden=9,8", "--flips"]
    assert run([*TRAIN, *extra]) == 0
    told = api.told("training")
    assert told.pop("began") <= time.perf_counter()
    assert callable(told.pop("on_plan"))
    assert told == {
        "family": "vae",
        "data": "digits",
        "out": Path("runs/x"),
        "preset": "classic",
        "options": {"latent_dim": "4", "hidden": ["9", "8"]},
        "recipe": {"flips": True, "steps": 3, "seed": 7},
        "parts": {},
    }
    assert run([*TRAIN, "--part", "autoencoder=runs/first", "--part", "guide=runs/weak"]) == 0
    assert api.told("training")["parts"] == {"autoencoder": "runs/first", "guide": "runs/weak"}
    out, err = capsys.readouterr()
    assert "trained vae for 3 steps: runs/x" in out
    assert "warning: the posterior collapses" in err
    assert "step 3/3" in err


def test_ctrl_c_says_how_to_go_on(
    api: FakeApi, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    api.error = KeyboardInterrupt()
    assert run(TRAIN) == 1
    assert "before the first step" in capsys.readouterr().err
    (tmp_path / "runs/x/checkpoint").mkdir(parents=True)
    (tmp_path / "runs/x/checkpoint/state.safetensors").touch()
    assert run(TRAIN) == 1
    err = capsys.readouterr().err
    assert "runs/x holds the checkpoint" in err and "train --resume --out runs/x goes on" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*TRAIN, "--latent-dmi", "3"], "did you mean '--latent-dim'"),
        ([*TRAIN, "--epcohs", "3"], "did you mean '--epochs'"),
        ([*TRAIN, "--steps", "3", "--epochs", "1"], "--steps and --epochs"),
        ([*TRAIN, "--steps", "0"], "--steps"),
        (["train", "--latent-dim", "3", "vae", "--data", "digits", "--out", "x"], "the family comes before"),
        (["train", "vea", "--data", "digits", "--out", "x"], "did you mean 'vae'"),
        (["train", "vae", "--out", "x"], "--data"),
        (["families", "vea"], "did you mean 'vae'"),
        (["smaple"], "smaple"),
        (["sample", "m", "--out", "x.bmp"], "known are FILE.png, FILE.jpg, FILE.jpeg, FILE.webp, FILE.npz, FILE.smi"),
        (["sample", "m", "--out", "x.png", "--guidance-interval", "0.2"], "two times, such as 0.2,0.8 (got '0.2')"),
        ([*TRAIN, "--part", "runs/first"], "--part takes NAME=MODEL"),
        ([*TRAIN, "--part", "a=b", "--part", "a=c"], "each name once"),
        (["evaluate", "m", "--data", "digits", "--out", "x.csv"], "known are FILE.json, FILE.html"),
    ],
)
def test_wrong_usage_is_one_paragraph_and_status_2(
    api: FakeApi, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Error: ") and message in err
    assert "\n\n" not in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MorphogenError("weights.safetensors is truncated."), "Error: weights.safetensors is truncated."),
        (OSError(28, "No space left on device", "x/y"), "Error: No space left on device: x/y."),
        (MemoryError(), "there is not enough memory for this: ask for fewer"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "there is not enough memory for this"),
        (ZeroDivisionError("division"), "this is a fault in morphogen: ZeroDivisionError: division."),
    ],
)
@pytest.mark.parametrize("place", [None, 0, 2])
def test_failed_work_is_status_1_and_debug_anywhere_shows_the_traceback(
    api: FakeApi, capsys: pytest.CaptureFixture[str], error: Exception, message: str, place: int | None
) -> None:
    api.error = error
    arguments = ["show", "model"]
    if place is not None:
        arguments.insert(place, "--debug")
    assert run(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and message in err
    assert ("Traceback" in err) == (place is not None)


def test_quickstart_ends_with_what_to_try(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quickstart", "--out", "first"]) == 0
    said = capsys.readouterr().out.partition("next:\n")[2].splitlines()
    assert said and said == [f"  {command}" for command in next_commands(Path("first"))]


@pytest.mark.parametrize(
    "arguments",
    [
        ["families"],
        ["families", "vae"],
        ["data", "inspect", "digits"],
        TRAIN,
        ["quickstart"],
        ["sample", "m", "--out", "{tmp}/a.png"],
        ["reconstruct", "m", "--data", "digits", "--out", "{tmp}/b.png"],
        ["interpolate", "m", "--data", "digits", "--out", "{tmp}/c.png"],
        ["levels", "m", "--data", "digits", "--out", "{tmp}/d.png"],
        ["evaluate", "m", "--data", "digits"],
        ["evaluate", "m", "k", "--data", "digits", "--compare"],
        ["evaluate-samples", "pictures/", "--data", "digits"],
        ["show", "m"],
        ["verify", "m"],
        ["check", "vae"],
        ["audit", "m", "--data", "digits", "--out", "{tmp}/audit/"],
    ],
)
def test_json_is_all_that_stdout_holds(
    api: FakeApi, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    arguments = [a.format(tmp=tmp_path) for a in arguments]
    assert run([*arguments, "--json"]) == 0

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    assert json.loads(capsys.readouterr().out, parse_constant=refuse)


def test_families_lists_flags_types_defaults_and_meanings(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["families", "vae"]) == 0
    out = capsys.readouterr().out
    for words in (
        "--latent-dim",
        "whole numbers, comma-separated",
        "500,500",
        "nats a latent [free]",
        "--preset classic",
        "--flips",
    ):
        assert words in out


def test_a_sheet_holds_the_pictures_and_says_how_it_was_made(api: FakeApi, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    assert run(["sample", "m", "--n", "9", "--seed", "3", "--class", "4", "--exact", "--out", str(path)]) == 0
    assert api.told("sample") == {"model": MODEL, "n": 9, "seed": 3, "label": "4", "exact": True}
    image = Image.open(path)
    drawn = api.sample(Path("m"), 9)
    assert image.tobytes() == sheet(to_bytes(drawn.x, drawn.spec)).tobytes()
    recipe = json.loads(image.text["morphogen"])
    assert recipe["model"] == "m" and recipe["seed"] == 3 and recipe["class"] == "4" and recipe["version"]


def test_guidance_is_passed_on(api: FakeApi, tmp_path: Path) -> None:
    line = ["sample", "m", "--n", "1", "--out", str(tmp_path / "a.png"), "--guidance", "2", "--avoid", "4"]
    assert run([*line, "--autoguidance", "1.5", "--guidance-interval", "0.2,0.8"]) == 0
    wanted = {"guidance": 2.0, "avoid": "4", "autoguidance": 1.5, "guidance_interval": (0.2, 0.8)}
    assert wanted.items() <= api.told("sample").items()


def test_a_folder_holds_one_picture_each(api: FakeApi, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    assert run(["sample", "m", "--n", "3", "--out", f"{folder}/"]) == 0
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["00000.png", "00001.png", "00002.png"]
    drawn = api.sample(Path("m"), 3)
    for i, name in enumerate(names):
        image = Image.open(folder / name)
        assert (np.asarray(image) == to_bytes(drawn.x, drawn.spec)[i, 0]).all()
        assert json.loads(image.text["morphogen"])["index"] == i


def test_arrays_are_the_stored_records(api: FakeApi, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    assert run(["sample", "m", "--n", "5", "--seed", "2", "--out", str(path)]) == 0
    with np.load(path, allow_pickle=False) as arrays:
        assert (arrays["x"] == api.sample(Path("m"), 5).x).all()
        assert arrays["labels"].tolist() == [0, 1, 2, 3, 4] and arrays["seed"] == 2
    assert load(str(path)).spec.classes == tuple("0123456789")


def test_reconstructions_stand_below_their_originals(api: FakeApi, tmp_path: Path) -> None:
    path = tmp_path / "r.png"
    assert run(["reconstruct", "m", "--data", "digits", "--n", "17", "--out", str(path)]) == 0
    image = np.asarray(Image.open(path))
    pitch = 8 * 8 + 2
    top = image.shape[0] - 4 * pitch - 2
    assert top == 0, "four rows: 16 originals and 1 more, each with its reconstructions"
    rows = [image[2 + r * pitch : 2 + r * pitch + 64, -16 * pitch :] for r in range(4)]
    assert (rows[0] == rows[1]).all(), "the stand-in reconstructs perfectly"
    assert (rows[2] == rows[3]).all()
    assert not (rows[0] == rows[2]).all()


def test_levels_are_rows_below_the_originals(api: FakeApi, tmp_path: Path) -> None:
    path = tmp_path / "l.png"
    assert run(["levels", "m", "--data", "digits", "--n", "5", "--out", str(path)]) == 0
    assert api.told("levels") == {"model": MODEL, "data": "digits", "n": 5}
    image = np.asarray(Image.open(path))
    pitch = 8 * 8 + 2
    assert image.shape[0] == 5 * pitch + 2, "the originals, and four rows for three groups"
    rows = [image[2 + r * pitch : 2 + r * pitch + 64, -5 * pitch :] for r in range(5)]
    assert (rows[0] == rows[1]).all() and not (rows[1] == rows[2]).all()
    assert run(["levels", "m", "--data", "digits", "--n", "5", "--out", str(tmp_path / "l.npz")]) == 0
    with np.load(tmp_path / "l.npz") as arrays:
        assert arrays["levels"].shape == (20, 1, 8, 8) and arrays["original"].shape == (5, 1, 8, 8)


def test_interpolations_become_a_sheet_an_animation_or_arrays(api: FakeApi, tmp_path: Path) -> None:
    for name in ("w.png", "w.gif", "w.npz"):
        arguments = ["--data", "digits", "--n", "2", "--steps", "5", "--out", str(tmp_path / name)]
        assert run(["interpolate", "m", *arguments]) == 0
    own = ["--between", str(tmp_path / "w.png"), str(tmp_path / "v.png"), "--out", str(tmp_path / "own.png")]
    assert run(["interpolate", "m", *own, "--n", "1", "--steps", "5"]) == 0
    assert api.calls[-1][1]["between"] == (tmp_path / "w.png", tmp_path / "v.png")
    assert Image.open(tmp_path / "w.png").size[0] == 5 * 66 + 2
    assert Image.open(tmp_path / "w.gif").n_frames == 5 + 3, "there and back again"
    with np.load(tmp_path / "w.npz") as arrays:
        assert arrays["x"].shape == (10, 1, 8, 8)


def test_points_are_drawn_in_the_plane_but_are_no_files(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.spec = POINTS
    assert run(["sample", "m", "--out", str(tmp_path / "p.png")]) == 0
    assert Image.open(tmp_path / "p.png").size > (300, 300)
    assert run(["sample", "m", "--out", f"{tmp_path}/q/"]) == 2
    assert "give --out FILE.npz" in capsys.readouterr().err


def test_what_exists_is_kept_unless_overwrite_is_asked_for(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    assert run(["sample", "m", "--out", str(path)]) == 2
    assert path.read_bytes() == b"precious" and api.calls == []
    assert "--overwrite" in capsys.readouterr().err
    assert run(["sample", "m", "--out", str(path), "--overwrite"]) == 0
    assert Image.open(io.BytesIO(path.read_bytes())).format == "PNG"


def test_overwrite_replaces_a_folder_of_pictures_and_no_other(api: FakeApi, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    write = ["sample", "m", "--out", f"{folder}/"]
    assert run([*write, "--n", "3"]) == 0
    assert run([*write, "--n", "2"]) == 2
    assert run([*write, "--n", "2", "--overwrite"]) == 0
    assert len(list(folder.iterdir())) == 2
    (folder / "thesis.txt").write_text("precious")
    assert run([*write, "--n", "2", "--overwrite"]) == 2
    assert (folder / "thesis.txt").read_text() == "precious"
    (tmp_path / "file").write_text("precious")
    assert run(["sample", "m", "--overwrite", "--out", f"{tmp_path}/file/"]) == 2
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("out", ["a.png", "many/"])
def test_a_failed_write_leaves_nothing_half_done(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert run(["sample", "m", "--out", f"{tmp_path}/{out}"]) == 1
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_evaluate_prints_and_writes_the_same_results(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deep" / "e.json"
    arguments = ["--metrics", "nll, bits", "--samples", "9", "--n", "360", "--out", str(path)]
    assert run(["evaluate", "m", "--data", "digits", *arguments]) == 0
    held = [Held(Path("m"))]
    given = {"models": held, "data": "digits", "metrics": ["nll", "bits"], "n": 360, "samples": 9}
    assert api.told("compare") == given
    out = capsys.readouterr().out
    for words in ("nll ↓", "21.43", "21.21 to 21.65", "360", "pixel marginals 33.2"):
        assert words in out
    assert json.loads(path.read_text())["results"][0]["value"] == 21.43


def test_several_models_are_compared_on_one_page(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ab.html"
    assert run(["evaluate", "m", "k", "--data", "digits", "--compare", "--out", str(path)]) == 0
    out, page = capsys.readouterr().out, path.read_text()
    for words in ("m is better", "left out fd: too few", "warning: copying", "not distinguishable"):
        assert (words in out) is (words != "not distinguishable")
        assert words in page or words.startswith(("left", "warning"))
    assert page.count("<img") == 3  # a ladder, and the samples of both
    assert api.named() == ["compare", "sample", "sample"]
    assert all("seed" not in given for name, given in api.calls if name == "sample"), "equal seeds"
    capsys.readouterr()
    assert run(["evaluate", "m", "k", "--data", "digits"]) == 0
    assert "m is better" not in capsys.readouterr().out
    assert run(["evaluate", "m", "--data", "digits", "--compare"]) == 2
    assert "at least two models" in capsys.readouterr().err


def test_what_others_made_is_judged_and_written(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in ("json", "html"):
        path = tmp_path / f"e.{suffix}"
        assert run(["evaluate-samples", "made.npz", "--data", "digits", "--n", "50", "--out", str(path)]) == 0
        assert api.told("evaluate_samples") == {"samples": "made.npz", "data": "digits", "n": 50}
        assert "made.npz" in path.read_text()
    assert "warning: copying" in capsys.readouterr().out


def test_show_holds_the_evaluations_or_says_how_to_make_one(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "m"]) == 0
    assert "morphogen evaluate m --data digits" in capsys.readouterr().out
    api.evaluations = [{"name": "nll", "written": "2026-01-01", "result": RESULT.to_dict()}]
    assert run(["show", "m"]) == 0
    assert "21.21 to 21.65" in capsys.readouterr().out


def test_inspect_writes_a_sheet(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.png"
    assert run(["data", "inspect", "digits", "--sheet", str(path)]) == 0
    assert Image.open(path).size == (16 * 66 + 2, 2 * 66 + 2)
    out = capsys.readouterr().out
    for words in ("1,437", "143", "36", "2 groups, 1 of them", "train/3 = test/5", "cat.png: cannot be read", "levels"):
        assert words in out
