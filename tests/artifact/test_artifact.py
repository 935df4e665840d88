import json
import os
import shutil
import sys
from contextlib import suppress

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from morphogen import artifact
from morphogen.artifact import files, folders, manifest, snapshot, store, weights
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError
from morphogen.core.family import Family, Player, Step
from morphogen.core.rng import Rng
from morphogen.core.spec import Spec

DATA = DataSpec(
    name="points", shape=(2,), kind="continuous", splits={"train": 90, "test": 10}, fingerprint="f00d", license="CC0"
)


class Affine(Family):
    """y = Wx + b, with an optional part that maps y further and a tied second weight."""

    name = "stored_affine"
    summary = "an affine map"
    capabilities = frozenset()

    class Spec(Spec):
        width: int = 3
        tied: bool = False

    part_names = ("base",)

    def __init__(self, spec, data, parts=None):
        super().__init__(spec, data, parts)
        self.map = nn.Linear(2, spec.width)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        if spec.tied:
            self.again = nn.Linear(2, spec.width)
            self.again.weight = self.map.weight

    def players(self):
        return {"model": Player(list(self.map.parameters()), lr=0.1)}

    def networks(self):
        return {"map": self.map}

    def steps(self, batch, rng, at):
        yield Step("model", {"size": self.map(batch.x).square().sum(1)})

    def forward(self, x):
        y = self.map(x)
        return self.parts["base"](y) if "base" in self.parts else y


registry.register("stored_affine", f"{__name__}:Affine")


class Killed(BaseException):
    """Stands for a kill: nothing but recovery on the next call may deal with it."""


def build(seed=1, parts=None, data=DATA, **options):
    with Rng(seed).forked():
        return Affine(Affine.Spec.parse(options), data, parts)


def save(path, family, **more):
    return artifact.save(path, family, recipe={"steps": 5}, provenance={"complete": True, "seed": 3}, **more)


def corrupt_json(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def relist(root):
    """Make the manifest agree with the files, as a forger would."""
    (root / artifact.MANIFEST).unlink()
    manifest.write(root)


def lying_in(folder):
    """What a user finds there; the locks of models stay beside them."""
    return [entry.name for entry in folder.iterdir() if entry.suffix != ".lock"]


X = torch.tensor([[0.5, -1.0], [2.0, 0.25]])


def test_a_loaded_model_is_the_saved_one_ready_to_use(tmp_path):
    family = build()
    family.seen += 7
    save(tmp_path / "m", family)
    loaded = artifact.load(tmp_path / "m")
    assert torch.equal(loaded.family(X), family(X))
    assert loaded.family.seen == 7
    assert not loaded.family.training
    assert not any(p.requires_grad for p in loaded.family.parameters())
    assert loaded.family.spec == family.spec
    assert loaded.family.data == DATA
    assert loaded.provenance == {"complete": True, "seed": 3}
    assert loaded.spec["recipe"] == {"steps": 5}
    assert loaded.spec["morphogen"]
    assert artifact.verify(tmp_path / "m") == []


def test_given_weights_are_saved_in_the_place_of_the_family_s(tmp_path):
    family = build()
    state = {name: value + 1 for name, value in family.state_dict().items()}
    save(tmp_path / "m", family, state=state)
    loaded = artifact.load(tmp_path / "m").family
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def test_loading_draws_nothing_from_the_global_state(tmp_path):
    save(tmp_path / "m", build())
    before = torch.get_rng_state()
    artifact.load(tmp_path / "m")
    assert torch.equal(before, torch.get_rng_state())


def test_tied_weights_come_back_tied(tmp_path):
    family = build(tied=True)
    save(tmp_path / "m", family)
    loaded = artifact.load(tmp_path / "m").family
    assert torch.equal(loaded.again.weight, family.map.weight)
    assert loaded.again.weight is loaded.map.weight


def test_nothing_in_it_is_a_pickle(tmp_path):
    save(tmp_path / "m", build(parts={"base": Affine(Affine.Spec(), DATA)}))
    for file in (tmp_path / "m").rglob("*"):
        assert file.is_dir() or file.suffix in (".json", ".jsonl", ".md", ".safetensors")


def test_a_missing_directory_and_a_directory_of_something_else(tmp_path):
    with pytest.raises(ArtifactError, match="no such model directory"):
        artifact.load(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(ArtifactError, match=r"manifest.json is missing"):
        artifact.load(tmp_path / "other")
    with pytest.raises(ArtifactError, match=r"manifest.json is missing"):
        artifact.verify(tmp_path / "other")


@pytest.mark.parametrize("name", ["spec.json", "weights.safetensors", "card.md", "log.jsonl", "parts/base/spec.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "changed"])
def test_damage_is_found_and_the_file_named(tmp_path, name, damage):
    log = tmp_path / "log"
    log.write_text('{"step": 1}\n')
    root = save(tmp_path / "m", build(parts={"base": build(width=2)}), log=log)
    file = root / name
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert any(problem.startswith(name) for problem in artifact.verify(root))
    with pytest.raises(ArtifactError, match=name):
        artifact.load(root)


@pytest.mark.parametrize("name", ["spec.json", "weights.safetensors", "log.jsonl"])
def test_a_file_of_terabytes_that_takes_no_space_is_not_hashed(tmp_path, name):
    """The manifest fits its size; to read all of it would take hours."""
    root = save(tmp_path / "model", build())
    (root / name).touch()
    os.truncate(root / name, 1 << 41)
    corrupt_json(root / "manifest.json", lambda m: m["files"].update({name: {"bytes": 1 << 41, "sha256": "0" * 64}}))
    assert f"{name} has 2,199,023,255,552 bytes and holds no weights." in artifact.verify(root)
    with pytest.raises(ArtifactError, match="holds no weights"):
        artifact.load(root)


def test_a_manifest_that_is_no_json_or_lists_nothing(tmp_path):
    root = save(tmp_path / "m", build())
    (root / artifact.MANIFEST).write_text("{")
    with pytest.raises(ArtifactError, match=r"manifest.json: expected JSON"):
        artifact.load(root)
    (root / artifact.MANIFEST).write_text('{"format": 1}')
    with pytest.raises(ArtifactError, match="files: Field required"):
        artifact.load(root)
    (root / artifact.MANIFEST).write_text('{"format": 1, "files": {}}')
    with pytest.raises(ArtifactError, match=r"weights.safetensors is not listed"):
        artifact.load(root)


def test_a_newer_format_asks_for_a_newer_morphogen(tmp_path):
    root = save(tmp_path / "m", build())
    corrupt_json(root / "spec.json", lambda spec: spec.update(format=artifact.FORMAT + 1))
    relist(root)
    with pytest.raises(ArtifactError, match=r"spec.json: written in format 2.*Install a newer morphogen"):
        artifact.load(root)
    corrupt_json(root / artifact.MANIFEST, lambda manifest: manifest.update(format=artifact.FORMAT + 1))
    with pytest.raises(ArtifactError, match=r"manifest.json: written in format 2.*Install a newer morphogen"):
        artifact.load(root)


def test_an_unknown_family_and_an_unknown_option_name_the_nearest(tmp_path):
    root = save(tmp_path / "m", build())
    corrupt_json(root / "spec.json", lambda spec: spec.update(family="stored_afine"))
    relist(root)
    with pytest.raises(ArtifactError, match="did you mean 'stored_affine'"):
        artifact.load(root)
    corrupt_json(root / "spec.json", lambda spec: spec.update(family="stored_affine", spec={"widht": 3}))
    relist(root)
    with pytest.raises(ArtifactError, match="did you mean 'width'"):
        artifact.load(root)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "parts/../../outside", "a\\..\\outside", "link"])
def test_a_manifest_that_leads_outside_is_refused(tmp_path, name):
    root = save(tmp_path / "m", build())
    (tmp_path / "outside").write_text("secret")
    (root / "link").symlink_to(tmp_path / "outside")
    entry = {"bytes": 6, "sha256": files.sha256(tmp_path / "outside")}
    corrupt_json(root / artifact.MANIFEST, lambda manifest: manifest["files"].update({name: entry}))
    with pytest.raises(ArtifactError, match="leads out of the model directory"):
        artifact.load(root)
    with pytest.raises(ArtifactError, match="leads out of the model directory"):
        artifact.verify(root)


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    root = save(tmp_path / "m", build())
    for change, message in [
        (lambda s: s.update({"map.weight": torch.zeros(4, 2)}), r"map.weight has shape \(4, 2\), expected \(3, 2\)"),
        (lambda s: s.pop("map.bias"), r"map.bias is missing"),
        (lambda s: s.update({"extra": torch.zeros(1)}), r"extra is unknown"),
    ]:
        state = build().state_dict()
        change(state)
        weights.write(root / store.WEIGHTS, state)
        relist(root)
        with pytest.raises(ArtifactError, match=message):
            artifact.load(root)


def test_parts_are_stored_as_artifacts_and_loaded_again(tmp_path):
    base = build(seed=2, width=2)
    family = build(parts={"base": base}, width=2)
    root = save(tmp_path / "m", family)
    loaded = artifact.load(root).family
    assert torch.equal(loaded(X), family(X))
    assert torch.equal(artifact.load(root / "parts" / "base").family(X), base(X))
    stored = load_file(root / store.WEIGHTS)
    assert not any(name.startswith("parts") for name in stored)


def test_a_part_that_was_exchanged_for_another_sound_one_is_refused(tmp_path):
    root = save(tmp_path / "m", build(parts={"base": build(seed=2, width=2)}, width=2))
    other = save(tmp_path / "other", build(seed=3, width=2))
    shutil.rmtree(root / "parts" / "base")
    shutil.copytree(other, root / "parts" / "base")
    relist(root)
    with pytest.raises(ArtifactError, match="not the part that the model was built with"):
        artifact.load(root)


def test_a_part_that_is_no_family_cannot_be_stored(tmp_path):
    with pytest.raises(ArtifactError, match="part 'base' is a Linear"):
        save(tmp_path / "m", build(parts={"base": nn.Linear(3, 3)}))
    assert not (tmp_path / "m").exists()
    assert lying_in(tmp_path) == []


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


def test_the_card_says_what_the_model_is(tmp_path):
    root = save(tmp_path / "m", build())
    text = (root / "card.md").read_text()
    for said in ("stored_affine trained on points", "CC0", "f00d", "90 train, 10 test", "| width | 3 |", "steps | 5"):
        assert said in text
    assert "interrupted" not in text
    artifact.save(root, build(), recipe={}, provenance={"complete": False})
    assert "interrupted" in (root / "card.md").read_text()
