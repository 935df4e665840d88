"""A model is replaced, and evaluations are added, whole or not at all."""

import os
import shutil
import sys
from contextlib import suppress

import pytest
import torch

from morphogen import artifact
from morphogen.artifact import folders, snapshot, weights
from morphogen.core.errors import ArtifactError
from tests.artifact.affine import Killed, X, build, lying_in, save


def test_saving_again_replaces_the_model_and_keeps_what_is_not_its_own(tmp_path):
    root = save(tmp_path / "m", build(seed=1))
    artifact.write_evaluation(root, "nll", {"nats": 1.0})
    (root / "checkpoint").mkdir()
    (root / "checkpoint" / "state").write_text("precious")
    (root / "report.html").write_text("mine")
    save(root, build(seed=2))
    assert torch.equal(artifact.load(root).family(X), build(seed=2)(X))
    assert (root / "checkpoint" / "state").read_text() == "precious"
    assert (root / "report.html").read_text() == "mine"
    assert artifact.read_evaluations(root) == []  # they were of other weights
    assert lying_in(tmp_path) == ["m"]


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("point", range(6))
def test_a_kill_while_directories_are_swapped_loses_nothing(tmp_path, monkeypatch, point, atomic):
    root = save(tmp_path / "m", build(seed=1))
    (root / "checkpoint").mkdir()
    (root / "checkpoint" / "state").write_text("precious")
    calls = []

    def killing(function):
        def call(*arguments, **more):
            calls.append(arguments)
            if len(calls) == point + 1:
                raise Killed
            return function(*arguments, **more)

        return call

    exchanged = folders.exchanged if atomic else lambda a, b: False
    if atomic and sys.platform != "linux":
        pytest.skip("folders are exchanged by two renames here")
    with monkeypatch.context() as patch:
        # the exchange, or m -> aside and new -> m; then checkpoint moves over, and the old one is removed
        patch.setattr(folders, "exchanged", killing(exchanged))
        patch.setattr(os, "rename", killing(os.rename))
        patch.setattr(folders.shutil, "rmtree", killing(shutil.rmtree))
        with suppress(Killed):
            save(root, build(seed=2))
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    if atomic or root.exists():
        artifact.load(root)
        assert artifact.verify(root) == []
    else:
        with pytest.raises(ArtifactError, match="was being replaced when its training was killed"):
            artifact.load(root)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before, "looking changes nothing"
    folders.recover(root)
    is_new = torch.equal(artifact.load(root).family(X), build(seed=2)(X))
    is_old = torch.equal(artifact.load(root).family(X), build(seed=1)(X))
    assert is_old != is_new
    assert (root / "checkpoint" / "state").read_text() == "precious"
    assert artifact.verify(root) == []
    save(root, build(seed=3))
    assert torch.equal(artifact.load(root).family(X), build(seed=3)(X))
    assert (root / "checkpoint" / "state").read_text() == "precious"
    assert lying_in(tmp_path) == ["m"]


def test_a_full_disk_leaves_the_model_that_was_there(tmp_path, monkeypatch):
    root = save(tmp_path / "m", build(seed=1))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights, "write_to", full)
    with pytest.raises(ArtifactError, match="No space left"):
        save(root, build(seed=2))
    assert torch.equal(artifact.load(root).family(X), build(seed=1)(X))
    assert lying_in(tmp_path) == ["m"]


def test_evaluations_are_added_to_the_manifest_and_to_the_card(tmp_path):
    root = save(tmp_path / "m", build())
    first = artifact.write_evaluation(root, "nll", {"nats": 89.25, "interval": [89.0, 89.5], "n": 10})
    second = artifact.write_evaluation(root, "nll", {"nats": 88.0})
    assert first != second
    assert artifact.verify(root) == []
    entries = artifact.read_evaluations(root)
    assert [(e["name"], e["result"]["nats"]) for e in entries] == [("nll", 89.25), ("nll", 88.0)]
    text = (root / "card.md").read_text()
    assert "### nll" in text
    assert "| nats | 89.25 |" in text and "| interval | [89, 89.5] |" in text
    first.write_text("{}")
    assert artifact.verify(root) != []


def test_the_same_evaluation_again_changes_nothing(tmp_path):
    root = save(tmp_path / "m", build())
    file = artifact.write_evaluation(root, "nll", {"nats": 1.0})
    before = {f: f.read_bytes() for f in root.rglob("*") if f.is_file()}
    assert artifact.write_evaluation(root, "nll", {"nats": 1.0}) == file
    assert {f: f.read_bytes() for f in root.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize("name, result", [("nll", {"nats": float("nan")}), ("nll", {"x": object()}), ("../nll", {})])
def test_an_evaluation_that_cannot_be_stored_is_refused(tmp_path, name, result):
    root = save(tmp_path / "m", build())
    with pytest.raises(ArtifactError):
        artifact.write_evaluation(root, name, result)
    assert artifact.read_evaluations(root) == []
    assert artifact.verify(root) == []


@pytest.mark.parametrize("point", range(3))
def test_a_kill_while_an_evaluation_is_added_leaves_a_sound_model(tmp_path, monkeypatch, point):
    root = save(tmp_path / "m", build())
    replace, calls = os.replace, []

    def killing(*arguments):
        calls.append(arguments)
        if len(calls) == point + 1:
            raise Killed
        replace(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killing)  # of the result, of the manifest, of the card
        with pytest.raises(Killed):
            artifact.write_evaluation(root, "nll", {"nats": 1.0})
    artifact.load(root)
    assert artifact.verify(root) == []
    listed = artifact.read_evaluations(root)
    with snapshot.taken(root) as seen:
        assert ("### nll" in seen.data("card.md").decode()) == bool(listed)
    artifact.write_evaluation(root, "nll", {"nats": 1.0})
    assert len(artifact.read_evaluations(root)) == 1
    assert artifact.verify(root) == []
