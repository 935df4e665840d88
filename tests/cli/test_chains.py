"""`chain` and `variances`: what they pass on, what they write, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphogen.cli.main import run
from tests.cli.fake_api import MODEL, POINTS, FakeApi

SAMPLED = {"label": "3", "text": "a three", "stepper": "heun", "steps": 9, "grid": "angle", "guidance": 2.0}


def test_chain_passes_everything_on(api: FakeApi, tmp_path: Path) -> None:
    line = ["chain", "m", "--data", "digits", "--n", "5", "--seed", "7", "--class", "3", "--text", "a three"]
    line += ["--stepper", "heun", "--steps", "9", "--grid", "angle", "--guidance", "2"]
    assert run([*line, "--out", str(tmp_path / "c.png")]) == 0
    assert api.named() == ["reverse_chain", "forward_chain"]
    assert api.told("reverse_chain") == {"model": MODEL, "n": 5, "seed": 7, **SAMPLED}
    assert api.told("forward_chain") == {"model": MODEL, "data": "digits", "n": 5, "seed": 7}
    recipe = json.loads(Image.open(tmp_path / "c.png").text["morphogen"])
    assert recipe["seed"] == 7 and recipe["stepper"] == "heun" and recipe["class"] == "3"


def test_the_forward_chain_stands_above_the_reverse_one(api: FakeApi, tmp_path: Path) -> None:
    both, alone = tmp_path / "both.png", tmp_path / "alone.png"
    assert run(["chain", "m", "--data", "digits", "--n", "2", "--times", "4", "--out", str(both)]) == 0
    assert run(["chain", "m", "--n", "2", "--times", "4", "--out", str(alone)]) == 0
    above, below = (np.asarray(Image.open(path)) for path in (both, alone))
    assert np.array_equal(above[-below.shape[0] :, -below.shape[1] :], below)
    assert above.shape[0] > below.shape[0] + 2 * 64, "two rows of records"


def test_an_animation_has_a_frame_for_each_state(api: FakeApi, tmp_path: Path) -> None:
    for extra, frames in (([], 6), (["--data", "digits"], 12)):
        path = tmp_path / f"{frames}.gif"
        assert run(["chain", "m", "--n", "3", *extra, "--out", str(path)]) == 0
        assert api.told("reverse_chain")["times"] is None
        assert Image.open(path).n_frames == frames


def test_arrays_are_the_stored_records(api: FakeApi, tmp_path: Path) -> None:
    path = tmp_path / "c.npz"
    api.spec = POINTS
    assert run(["chain", "m", "--data", "points", "--n", "3", "--times", "4", "--out", str(path)]) == 0
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["reverse"].shape == arrays["estimate"].shape == arrays["forward"].shape == (3, 4, 2)
        assert arrays["t"][-1] == 0.0 == arrays["forward_t"][0] and len(arrays["forward_log_snr"]) == 4
    assert run(["chain", "m", "--out", str(tmp_path / "c.png")]) == 2, "points are no pictures"


def test_variances_become_a_plot_or_arrays(api: FakeApi, tmp_path: Path) -> None:
    line = ["variances", "m", "--data", "digits", "--n", "50", "--steps", "4", "--grid", "uniform", "--seed", "2"]
    assert run([*line, "--out", str(tmp_path / "v.png")]) == 0
    expected = {"model": MODEL, "data": "digits", "n": 50, "steps": 4, "grid": "uniform", "seed": 2}
    assert api.told("variances") == expected
    assert Image.open(tmp_path / "v.png").width > 600
    assert run([*line, "--out", str(tmp_path / "v.npz")]) == 0
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"t", "s", "log_snr", "beta", "beta_tilde", "learned", "measured", "interval", "n"}
        assert (arrays["beta_tilde"] < arrays["learned"]).all()


@pytest.mark.parametrize("verb", [["chain", "m"], ["variances", "m", "--data", "digits"]])
def test_json_is_all_that_stdout_holds_and_nothing_is_overwritten_unasked(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    path = tmp_path / "a.png"
    assert run([*verb, "--out", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == str(path)
    calls = len(api.calls)
    assert run([*verb, "--out", str(path)]) == 2 and len(api.calls) == calls
    assert "--overwrite" in capsys.readouterr().err
    assert run([*verb, "--out", str(path), "--overwrite"]) == 0
    assert run([*verb, "--out", str(tmp_path / "a.bmp")]) == 2
