"""Readers and writers of one artifact at a time: no failure on either side, nothing lost, nothing of others touched."""

import multiprocessing
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from morphogen import api, artifact
from morphogen.artifact import locks, weights
from morphogen.core.errors import ArtifactError
from tests.artifact.stored_models import stored


def _evaluate(path: Path, worker: int, n: int, failures: Any) -> None:
    for i in range(n):
        try:
            artifact.write_evaluation(path, f"w{worker}", {"name": "nll", "value": worker * 100.0 + i})
        except Exception as error:
            failures.put(f"evaluating: {error!r}")


def _save(path: Path, n: int, failures: Any) -> None:
    family = artifact.load(path).family
    for _ in range(n):
        try:
            artifact.save(path, family, recipe={}, provenance={})
        except Exception as error:
            failures.put(f"saving: {error!r}")


def _read(path: Path, done: Any, failures: Any) -> None:
    while not done.is_set():
        try:
            artifact.load(path)
            artifact.read_evaluations(path)
            if problems := artifact.verify(path):
                failures.put(f"reading: {problems}")
        except Exception as error:
            failures.put(f"reading: {error!r}")


def _race(path: Path, writers: list[tuple[Any, ...]], readers: int) -> list[str]:
    context = multiprocessing.get_context("fork")
    failures, done = context.Queue(), context.Event()
    writing = [context.Process(target=target, args=(path, *more, failures)) for target, *more in writers]
    reading = [context.Process(target=_read, args=(path, done, failures)) for _ in range(readers)]
    for process in [*reading, *writing]:
        process.start()
    for process in writing:
        process.join()
    done.set()
    for process in reading:
        process.join()
    time.sleep(0.05)
    found = []
    while not failures.empty():
        found.append(failures.get())
    return found


@pytest.mark.parametrize("each", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_evaluations_at_once_are_all_kept_while_others_read(tmp_path: Path, each: int) -> None:
    root = stored(tmp_path / "m")
    assert _race(root, [(_evaluate, k, each) for k in range(3)], readers=2) == []
    assert len(artifact.read_evaluations(root)) == 3 * each
    assert artifact.verify(root) == []
    assert not api.verify(root).unlisted


@pytest.mark.parametrize("n", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_one_writer_beside_three_readers(tmp_path: Path, n: int) -> None:
    root = stored(tmp_path / "m")
    (root / "checkpoint").mkdir()
    (root / "checkpoint" / "state").write_text("precious")
    assert _race(root, [(_save, n)], readers=3) == []
    assert (root / "checkpoint" / "state").read_text() == "precious"
    assert artifact.verify(root) == []


def test_looking_and_writing_touch_nothing_of_others(tmp_path: Path) -> None:
    root = stored(tmp_path / "m")
    theirs = [".m.old/notes.txt", ".m.new/manifest.json", "m/card.md.new", "m/.card.md.tmp", "m/evaluation/notes.txt"]
    theirs += ["m/.m.morphogen-1-x/a", ".m.morphogen-7-0123456789abcdef/thesis.txt"]
    for name in theirs:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    before = {str(f): f.stat().st_mtime_ns for f in tmp_path.rglob("*")}
    api.describe(root), api.verify(root), artifact.load(root), artifact.read_evaluations(root), artifact.verify(root)
    assert {str(f): f.stat().st_mtime_ns for f in tmp_path.rglob("*")} == before
    artifact.write_evaluation(root, "nll", {"value": 1.0})
    artifact.save(root, artifact.load(root).family, recipe={}, provenance={})
    for name in theirs:
        assert (tmp_path / name).read_text() == name


def test_a_reader_finds_what_a_killed_writer_had_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = stored(tmp_path / "m")
    whole = os.replace

    def killed(source: Any, target: Any) -> None:
        if str(target).endswith("manifest.json"):
            whole(source, target)
            raise KeyboardInterrupt
        whole(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            artifact.write_evaluation(root, "nll", {"value": 1.0})
    assert artifact.verify(root) == [] and len(artifact.read_evaluations(root)) == 1
    assert not api.verify(root).unlisted
    artifact.write_evaluation(root, "nll", {"value": 2.0})
    assert len(artifact.read_evaluations(root)) == 2
    assert not list(root.rglob(".*"))


def test_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        root = stored(tmp_path / "m")
        artifact.write_evaluation(root, "nll", {"value": 1.0})
        weights.write(tmp_path / "state.safetensors", {"a": torch.zeros(2)})
    finally:
        os.umask(before)
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in [*root.rglob("*.*"), tmp_path / "state.safetensors"]}
    assert set(modes.values()) == {0o644}, modes


def test_a_training_that_has_not_ended_is_said_in_words(tmp_path: Path) -> None:
    root = tmp_path / "m"
    (root / "checkpoint").mkdir(parents=True)
    state = root / "checkpoint" / "state.safetensors"
    weights.write(state, {"a": torch.zeros(2)}, {"state": '{"format": 1, "step": 400, "total": 2000}'})
    for look in (api.describe, api.verify, artifact.load):
        with pytest.raises(ArtifactError, match=r"a training at step 400 of 2,000 that has not ended.*--resume"):
            look(root)
    state.write_bytes(b"x")
    with pytest.raises(ArtifactError, match="a training that has not ended"):
        api.describe(root)


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 2).T,
        "b": torch.tensor(7),
        "c": torch.zeros(0, 4),
        "d": torch.randn(5).bfloat16(),
        "e": torch.tensor([True, False]),
        "f": torch.randn(2, 2, dtype=torch.float64),
    }
    weights.write(tmp_path / "w", tensors, {"k": "v"})
    found, said = weights.read_all(tmp_path / "w")
    assert said == {"k": "v"} and found.keys() == tensors.keys()
    assert all(torch.equal(found[n], t) and found[n].dtype == t.dtype for n, t in tensors.items())
    from safetensors.torch import load_file

    assert all(torch.equal(t, tensors[n]) for n, t in load_file(tmp_path / "w").items())


def test_who_may_not_write_beside_a_model_may_add_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = stored(tmp_path / "m")
    monkeypatch.setattr(locks, "_writable", lambda file: False)
    artifact.write_evaluation(root, "nll", {"value": 1.0})
    assert (root / ".morphogen-writing.lock").exists()
    assert artifact.verify(root) == [] and not api.verify(root).unlisted
