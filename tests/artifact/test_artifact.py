import os
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from morphogen import artifact
from morphogen.artifact import files, store, weights
from morphogen.core.errors import ArtifactError
from tests.artifact.affine import DATA, Affine, X, build, corrupt_json, lying_in, relist, save


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


def test_the_card_says_what_the_model_is(tmp_path):
    root = save(tmp_path / "m", build())
    text = (root / "card.md").read_text()
    for said in ("stored_affine trained on points", "CC0", "f00d", "90 train, 10 test", "| width | 3 |", "steps | 5"):
        assert said in text
    assert "interrupted" not in text
    artifact.save(root, build(), recipe={}, provenance={"complete": False})
    assert "interrupted" in (root / "card.md").read_text()
