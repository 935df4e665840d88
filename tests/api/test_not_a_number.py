"""What a network makes of NaN and infinity is an error that counts records, never a picture; and no file of ours needs
pickle."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import morphogen as mg
from morphogen.applications.records import as_stored, check_room
from morphogen.cli.main import run
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import NonFiniteError, UsageError
from morphogen.families.vae import VAE
from morphogen.report.saving import npz

BYTES = DataSpec(name="a", shape=(1, 2, 2), kind="continuous", levels=256)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["levels", "binary", "real"])
def test_only_numbers_become_pictures(kind: str, wrong: float) -> None:
    spec = {
        "levels": BYTES,
        "binary": DataSpec(name="b", shape=(1, 2, 2), kind="binary"),
        "real": DataSpec(name="c", shape=(1, 2, 2), kind="continuous"),
    }[kind]
    x = torch.zeros(5, 1, 2, 2)
    assert as_stored(x, spec).shape == (5, 1, 2, 2)
    x[1, 0, 1, 1] = x[3, 0, 0, 0] = x[3, 0, 1, 0] = wrong
    with pytest.raises(NonFiniteError, match=r"no numbers for 2 of 5 records.* guidance .*--precision fp32"):
        as_stored(x, spec)


def test_what_overflows_on_its_way_out_is_found_too() -> None:
    wide = DataSpec(name="d", shape=(1,), kind="continuous", scale=1e30)
    with pytest.raises(NonFiniteError, match="1 of 2 records"):
        as_stored(torch.tensor([[1.0], [1e20]]), wide)


def test_no_verb_writes_what_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m"
    recipe = {"steps": 1, "compile": "off", "batch_size": 8}
    list(mg.training("vae", "digits", out, options={"hidden": (8,), "latent_dim": 2}, recipe=recipe))
    true: Any = VAE.decode
    monkeypatch.setattr(VAE, "decode", lambda self, z, cond=None: true(self, z * float("nan"), cond))
    files = tmp_path / "files"
    files.mkdir()
    for line in (
        ["sample", out, "--n", "3", "--out", files / "a.png"],
        ["sample", out, "--n", "3", "--out", files / "a.npz"],
        ["sample", out, "--n", "3", "--out", f"{files}/a/"],
        ["walk", out, "--frames", "3", "--stops", "2", "--out", files / "a.gif"],
        ["reconstruct", out, "--data", "digits", "--n", "3", "--out", files / "a.png"],
        ["interpolate", out, "--data", "digits", "--n", "1", "--out", files / "a.gif"],
        ["manifold", out, "--n", "2", "--out", files / "a.npz"],
    ):
        capsys.readouterr()
        assert run([str(word) for word in line]) == 1, line
        assert "values that are no numbers for" in capsys.readouterr().err
    assert list(files.iterdir()) == []


def test_more_than_the_memory_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_room(10**6, (1, 8, 8))
    with pytest.raises(UsageError, match=r"100,000,000 records of shape .* take .* of memory, and there are"):
        check_room(10**8, (3, 4096, 4096))


@pytest.mark.parametrize("width", [10**7, 10**9, 10**12])
def test_a_model_larger_than_the_memory_is_said_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    line = ["train", "vae", "--data", "digits", "--out", str(tmp_path / "m"), "--hidden", f"{width},{width}"]
    assert run([*line, "--steps", "1"]) == 2
    assert "a model of these sizes" in capsys.readouterr().err and not (tmp_path / "m").exists()


@pytest.mark.parametrize("value", [2**64 - 1, 0, "text", ["a", "bc"], [1.0, 2.5], np.arange(3), np.float32(1)])
def test_no_file_of_ours_holds_a_pickle(value: object) -> None:
    with np.load(io.BytesIO(npz({"a": value, "left out": None})), allow_pickle=False) as file:
        assert file.files == ["a"] and np.asarray(file["a"]).dtype != object


@pytest.mark.parametrize("value", [2**70, {"a": 1}, [1, "a", None], object()])
def test_what_would_need_a_pickle_is_refused_at_once(value: object) -> None:
    with pytest.raises((UsageError, ValueError)):
        npz({"a": value})


def test_previews_of_nan_are_a_warning_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample(self: VAE, n: int, *_: Any, **__: Any) -> torch.Tensor:
        return torch.full((n, *self.data.shape), float("nan"))

    monkeypatch.setattr(VAE, "sample", sample)
    recipe = {"steps": 6, "batch_size": 16, "sheet_seconds": 1e-6, "log_every": 2, "compile": "off"}
    events = list(mg.training("vae", "digits", tmp_path / "m", options={"hidden": [8]}, recipe=recipe))
    said = [w for event in events for w in event.warnings if "a sheet of samples" in w]
    assert len(said) == 1 and "no numbers" in said[0] and "Training goes on" in said[0]
    assert mg.load(tmp_path / "m").provenance["complete"] and not list(tmp_path.rglob("step-*.png"))
