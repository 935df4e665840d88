"""Artifacts that others made: each is refused in words, before it takes memory, runs code or opens a socket."""

import hashlib
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

import morphogen as mg
from morphogen import api, artifact
from morphogen.artifact import manifest, weights
from morphogen.core import registry
from morphogen.core.errors import ArtifactError, MorphogenError
from morphogen.core.rng import Rng
from tests.artifact.stored_models import DATA, stored

EARLIER = Path(__file__).with_name("earlier")


def forged(root: Path, change: Any, file: str = "spec.json") -> Path:
    """Change a JSON file, and let the manifest agree, as a forger would."""
    content = json.loads((root / file).read_text())
    content = change(content) or content
    (root / file).write_text(json.dumps(content))
    manifest.write(root)
    return root


def refused(root: Path, said: str) -> None:
    for look in (api.describe, api.verify, artifact.load):
        with pytest.raises(ArtifactError, match=said):
            look(root)


def test_an_artifact_of_an_earlier_version_loads(tmp_path: Path) -> None:
    root = shutil.copytree(EARLIER, tmp_path / "m")
    assert artifact.verify(root) == []
    loaded = artifact.load(root).family
    assert loaded.sample(3, None, Rng(0)).shape == (3, 1, 8, 8)
    assert api.describe(root)["evaluations"][0]["result"]["n"] == 30
    assert (api.verify(root).model, api.verify(root).family) == (str(root), "vae")
    artifact.write_evaluation(root, "nll", {"name": "nll", "value": 1.0})
    assert len(artifact.read_evaluations(root)) == 2 and artifact.verify(root) == []


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda s: s["spec"].update(hidden=[30_000, 30_000]), "does not fit the model"),
        (lambda s: s["spec"].update(hidden=[10**9, 10**9]), "does not fit the model"),
        (lambda s: s["spec"].update(hidden=[16] * 3000), "at most 256 values"),
        (lambda s: s["spec"].update(hidden=[16] * 250), "more layers than there are weights"),
        (lambda s: s["spec"].update(latent_dim=10**12), "spec.json|does not fit"),
        (lambda s: s["spec"].update(latent_dim=10**30), "spec.json"),
        (lambda s: s["spec"].update(latent_dim="2"), "valid integer"),
        (lambda s: s["spec"].update(latent_dim=True), "valid integer"),
        (lambda s: s["data"].update(shape=[1, 1 << 20, 1 << 20]), "elements"),
        (lambda s: s["data"].update(shape=[1, 0, 8]), "empty"),
        (lambda s: s["data"].update(shape="x"), "spec.json"),
        (lambda s: s["data"].update(levels=1 << 31), "levels"),
        (lambda s: s["data"].update(splits=[]), "splits"),
        (lambda s: s.update(data=[]), "data"),
        (lambda s: s.update(family=["vae"]), "family"),
        (lambda s: s.update(family="vea"), "did you mean"),
        (lambda s: s.update(family="pretrained_text"), "only a part of other models"),
        (lambda s: s.update(parts={"../x": "0" * 64}), "parts"),
        (lambda s: s.update(parts={"base": "0" * 64}), "not the part"),
        (lambda s: s.update(provenance=3), "provenance"),
        (lambda s: s.update(provenance={"complete": "no"}), "complete"),
        (lambda s: s.update(format=True), "format"),
        (lambda s: s.update(format=2), "newer morphogen"),
        (lambda s: [s], "format number"),
    ],
)
def test_what_spec_json_cannot_say_is_an_error_in_words(tmp_path: Path, change: Any, said: str) -> None:
    refused(forged(stored(tmp_path / "m"), change), said)


@pytest.mark.parametrize("text", ["{", "[" * 9999, '{"format": 1, "x": NaN}', '"\\ud800"', "1" * 5000, "\x00"])
@pytest.mark.parametrize("file", ["spec.json", "manifest.json"])
def test_what_is_no_json_is_an_error_in_words(tmp_path: Path, file: str, text: str) -> None:
    root = stored(tmp_path / "m")
    (root / file).write_text(text)
    if file != "manifest.json":
        manifest.write(root)
    refused(root, file)


def test_pipes_folders_and_circles_of_links_are_no_files(tmp_path: Path) -> None:
    for i, put in enumerate((os.mkfifo, os.mkdir, lambda path: os.symlink(path.name, path))):
        for name in ("weights.safetensors", "spec.json", "manifest.json", "card.md"):
            root = stored(tmp_path / f"{i}-{name}")
            (root / name).unlink()
            put(root / name)
            refused(root, name.replace(".", r"\."))
            if name == "manifest.json":
                with pytest.raises(MorphogenError):
                    artifact.write_evaluation(root, "nll", {"value": 1.0})


def test_weights_that_do_not_belong_are_refused_before_they_are_read(tmp_path: Path) -> None:
    state = dict(artifact.load(stored(tmp_path / "o")).family.state_dict())
    name = next(iter(state))
    for i, (change, said) in enumerate(
        [
            (lambda s: s.update({name: s[name] * float("nan")}), "holds NaN or infinite values, first in " + name),
            (lambda s: s.update({name: s[name].int()}), f"{name} is of the type I32"),
            (lambda s: s.update({name: s[name].T.contiguous()}), f"{name} has shape"),
            (lambda s: s.pop(name), f"{name} is missing"),
            (lambda s: s.update({"more\x1b": torch.zeros(1)}), r"more\\x1b is unknown"),
        ]
    ):
        root = stored(tmp_path / str(i))
        changed = dict(state)
        change(changed)
        weights.write(root / "weights.safetensors", changed)
        manifest.write(root)
        for look in (api.verify, artifact.load):
            with pytest.raises(ArtifactError, match=said):
                look(root)


@pytest.mark.parametrize(
    "header",
    [
        b"", b"{", b"[]", b'{"a": 3}', b'{"a": {}}', b"[" * 3000,
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}',
        b'{"a": {"dtype": "F9", "shape": [2], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [1152921504606846976], "data_offsets": [0, 8]}}',
        b'{"a": {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]}}',
        b'{"__metadata__": {"a": 3}}',
    ],
)  # fmt: skip
def test_headers_of_weights_that_lie_are_errors_in_words(tmp_path: Path, header: bytes) -> None:
    root = stored(tmp_path / "m")
    (root / "weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    manifest.write(root)
    refused(root, r"weights\.safetensors")
    (root / "weights.safetensors").write_bytes((1 << 62).to_bytes(8, "little"))
    manifest.write(root)
    refused(root, r"weights\.safetensors")


def test_a_manifest_that_lists_strange_names_is_refused(tmp_path: Path) -> None:
    root = stored(tmp_path / "m")
    entry = {"bytes": 1, "sha256": "0" * 64}
    plain = json.loads((root / "manifest.json").read_text())
    for name in ("../x", "/etc/passwd", "a//b", "a/../b", "a\\b", "", ".", "a\x00b", "x" * 5000):
        (root / "manifest.json").write_text(json.dumps({**plain, "files": {**plain["files"], name: entry}}))
        refused(root, "leads out|cannot be read|damaged")
    for bad in ({"bytes": -1, "sha256": "0" * 64}, {"bytes": 1 << 70, "sha256": "0" * 64}, {"bytes": 1}, [], None):
        (root / "manifest.json").write_text(json.dumps({**plain, "files": {**plain["files"], "x": bad}}))
        refused(root, r"manifest\.json")


def test_files_that_nothing_lists_are_named(tmp_path: Path) -> None:
    root = stored(tmp_path / "m")
    (root / "evil.py").write_text("1")
    (root / "checkpoint").mkdir()
    (root / "checkpoint" / "state").write_text("1")
    assert api.verify(root).unlisted == ("evil.py",)
    artifact.load(root)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "encoder-decoder", "auto_map": {"AutoModel": "x--evil.Evil"}},
        {"model_type": "bert", "auto_map": {"AutoModel": "somebody/repo--x.Y"}},
        {"model_type": "bert", "attn_implementation": "kernels-community/x"},
        {"model_type": "bert", "_attn_implementation": "somebody/kernel"},
        {"model_type": "bert", "quantization_config": {"quant_method": "gptq"}},
        {"model_type": "clip", "text_config": {"auto_map": {"AutoModel": "x--evil.Evil"}}},
        {"model_type": "instructblip"},
        {"model_type": "rag"},
        {"model_type": ["bert"]},
        {},
        {"model_type": "bert", "hidden_size": 24, "num_attention_heads": 7},
        {"model_type": "bert", "vocab_size": 10**9},
        {"model_type": "bert", "hidden_act": "nowhere"},
    ],
)
def test_a_stored_text_encoder_runs_no_code_and_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    """As a part; the manifest of the model that stands on it agrees."""
    pytest.importorskip("transformers")

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("asked, or reached for the network")

    monkeypatch.setattr(socket.socket, "connect", never)
    monkeypatch.setattr("builtins.input", never)
    root = stored(tmp_path / "m")
    inner = root / "parts" / "text"
    stored(inner)
    (inner / "evil.py").write_text("raise SystemExit('code ran')")
    forged(inner, lambda s: s.update(family="pretrained_text", spec={"config": config}))
    digest = hashlib.sha256((inner / "manifest.json").read_bytes()).hexdigest()
    forged(root, lambda s: s.update(parts={"text": digest}))
    refused(root, "text")


def test_a_part_that_does_not_fit_its_own_manifest_is_found(tmp_path: Path) -> None:
    root = stored(tmp_path / "m")
    inner = stored(root / "parts" / "guide")
    digest = hashlib.sha256((inner / "manifest.json").read_bytes()).hexdigest()
    (inner / "card.md").write_text("another")
    forged(root, lambda s: s.update(parts={"guide": digest}))
    assert artifact.verify(root) == ["parts/guide/card.md is not what parts/guide/manifest.json lists."]


def test_text_of_others_is_text_in_the_card(tmp_path: Path) -> None:
    root = stored(tmp_path / "m")
    said = {"name": "nll", "value": 1.0, "note": "a|b <script>x</script> [u](javascript:x) `c` \x1b[2J\u202e"}
    artifact.write_evaluation(root, "nll", said)
    card = (root / "card.md").read_text()
    assert "<script" not in card and "](java" not in card and "\x1b" not in card and "\u202e" not in card
    assert "a\\|b" in card


def test_no_path_of_its_maker_is_stored(tmp_path: Path) -> None:
    data = DATA.replace(source=f"{tmp_path}/secret/cats:size=8")
    kind = registry.family("vae")
    made = kind(kind.Spec.parse({"hidden": (8,), "latent_dim": 2}), data, {})
    told = {"source": "/home/ada/my cats/x:size=8", "started_from": {"model": "/home/ada/m"}, "problems": ["/b/c: bad"]}
    root = artifact.save(tmp_path / "m", made, recipe={}, provenance=told)
    artifact.write_evaluation(root, "nll", {"value": 1.0, "data": "/home/ada/cats (test)"})
    for file in root.rglob("*.*"):
        content = file.read_bytes()
        assert b"/home/ada" not in content and str(tmp_path).encode() not in content, file
    assert api.describe(root)["data"]["source"] == "cats:size=8"
    for folder in (Path.cwd(), Path.home()):
        assert mg.core.paths.without_folders(f"{folder}/clients/cats:size=8") == "cats:size=8"
        assert mg.core.paths.without_folders(f"left out {folder}/clients/1.png: bad") == "left out 1.png: bad"
    assert mg.core.paths.without_folders("https://a.b/c and n/a and 1/2") == "https://a.b/c and n/a and 1/2"
