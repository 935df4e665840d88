"""Going on with a run by its folder alone, in Python and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen import api, artifact
from morphogen.artifact import folders
from morphogen.cli.main import run
from morphogen.core.errors import ArtifactError, MorphogenError, UsageError
from morphogen.trainer import checkpoint

TINY = {"hidden": [8], "latent_dim": 2}
RECIPE = {"steps": 8, "batch_size": 8, "compile": "off", "log_every": 2, "seed": 5, "device": "cpu"}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 30 pictures in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(30):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i:02}.png")
    return tmp_path / "photos"


def begin(out: str, data: str = "photos") -> None:
    """A run that is closed after its first event."""
    events: Iterator[Any] = api.training("vae", data, out, options=TINY, recipe=RECIPE)
    next(events)
    events.close()  # type: ignore[attr-defined]


def weights(out: str) -> dict[str, torch.Tensor]:
    return artifact.load(out).family.state_dict()


def test_the_folder_is_enough(photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also from another working directory, and on the command line; bit for bit as if never interrupted."""
    list(api.training("vae", "photos", "whole", options=TINY, recipe=RECIPE))
    for name in ("python", "shell"):
        begin(name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert list(api.training(out="../python", resume=True))[-1].step == 8
    assert run(["train", "--resume", "--out", "../shell"]) == 0
    whole = weights("../whole")
    for name in ("python", "shell"):
        assert artifact.load(f"../{name}").provenance["complete"] is True
        found = weights(f"../{name}")
        assert all(torch.equal(value, found[key]) for key, value in whole.items())


CHANGES: list[tuple[dict[str, Any], list[str]]] = [
    ({"options": {"hidden": [9]}}, ["spec.hidden is [9] and was [8]"]),
    ({"recipe": {"batch_size": 4, "seed": 6}}, ["recipe.batch_size is 4 and was 8", "recipe.seed is 6 and was 5"]),
    ({"recipe": {"steps": 9}}, ["recipe.steps is 9 and was 8"]),
    ({"recipe": {"epochs": 9}}, ["recipe.epochs is 9.0 and was None", "recipe.steps is None and was 8"]),
]


def test_what_is_said_again_may_be_the_same_and_what_differs_is_named_alone(photos: Path) -> None:
    begin("m")
    for changed, said in CHANGES:
        with pytest.raises(UsageError) as caught:
            api.training(out="m", resume=True, **changed)
        lines = str(caught.value).splitlines()
        assert [line.strip() for line in lines[1:-1]] == said
        assert ("To make a run longer" in lines[-1]) == ("steps" in str(said))
    with pytest.raises(UsageError, match="trains 'vae' and not 'gan'"):
        api.training("gan", "photos", "m", resume=True)
    assert list(api.training("vae", "photos", "m", resume=True, options=TINY, recipe=RECIPE))[-1].step == 8


@pytest.mark.parametrize("again", ["pictures", "photos:skip_bad", "photos:size=16,resize=crop"])
def test_the_same_records_by_another_name_or_other_options_go_on(photos: Path, again: str) -> None:
    begin("m")
    if again == "pictures":
        photos.rename("pictures")
    assert list(api.training(data=again, out="m", resume=True))[-1].step == 8


def test_other_records_are_refused(photos: Path) -> None:
    begin("m")
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(photos / "00.png")
    with pytest.raises(UsageError, match="the data hold other records") as caught:
        list(api.training(out="m", resume=True))
    assert "{" not in str(caught.value)


def test_nothing_to_go_on_with_is_said(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["train", "--resume", "--out", "none"], "none holds no run to resume"),
        (["train", "--out", "none"], "the family is missing"),
        (["train", "vae", "--out", "none"], "--data is missing"),
        (["train", "--resume"], "--out is missing"),
    ):
        assert run(arguments) == 2
        assert said in capsys.readouterr().err
    with pytest.raises(UsageError, match="holds no run to resume"):
        api.training(out="none", resume=True)
    Path("m/checkpoint").mkdir(parents=True)
    Path("m/checkpoint/state.safetensors").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="expected a checkpoint"):
        api.training(out="m", resume=True)


def test_a_model_does_not_keep_what_its_checkpoint_does(photos: Path) -> None:
    begin("m")
    kept = checkpoint.facts(Path("m/checkpoint"))
    assert kept["begun_with"]["data"] == "photos"
    assert kept["begun_with"]["where"] == str(photos.parent)
    assert kept["step"] < kept["total"] == 8
    assert str(photos.parent) not in json.dumps(json.loads(Path("m/spec.json").read_text()))


def test_closing_the_events_at_the_first_one_says_what_fails(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error at the end of a closed run reaches whoever closes it."""
    events: Iterator[Any] = api.training("vae", "photos", "m", options=TINY, recipe=RECIPE)
    next(events)

    def fail(*_: object, **__: object) -> None:
        raise ArtifactError("no room.")

    monkeypatch.setattr(artifact, "save", fail)
    with pytest.raises(MorphogenError, match=r"no room\. The checkpoint of step"):
        events.close()  # type: ignore[attr-defined]


def test_the_folder_is_enough_after_a_kill_amid_the_exchange(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model has changed places then, and the checkpoint is still in the folder that the old one became."""

    class Killed(BaseException):
        pass

    begin("m")
    list(api.training("vae", "photos", "whole", options=TINY, recipe=RECIPE))

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(folders, "_move_others", kill)
        with pytest.raises(Killed):
            list(api.training(out="m", resume=True))
    assert not Path("m/checkpoint").exists()
    assert artifact.verify("m") == []
    assert list(api.training(out="m", resume=True))[-1].step == 8
    assert Path("m/checkpoint").exists()
    whole, found = weights("whole"), weights("m")
    assert all(torch.equal(value, found[key]) for key, value in whole.items())
