"""Words as conditions from end to end: trained on captions, stored, asked for, and obeyed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from morphogen import api, artifact
from morphogen.cli.main import run
from morphogen.core import registry
from morphogen.core.errors import ArtifactError, SpecError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import Stream, load
from morphogen.data.shapes import BACKGROUND, COLORS
from morphogen.trainer import Recipe, fit

SHAPES = "shapes:size=16,n=300"
QUICK: dict[str, Any] = {"compile": "off", "precision": "fp32"}
SMALL: dict[str, Any] = {"backbone": "mlp", "hidden": (32,), "latent_dim": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hardly trained, but it reads."""
    out = tmp_path_factory.mktemp("text") / "model"
    list(api.training("vae", SHAPES, out, options={**SMALL, "conditional": True}, recipe={**QUICK, "steps": 3}))
    return out


def test_an_artifact_keeps_its_tokenizer_in_a_file_of_its_own(model: Path) -> None:
    stored = artifact.load(model).family.data.text
    data = api.load_data(SHAPES)
    assert stored.tokenizer == (model / "tokenizer.json").read_text(encoding="utf-8") == data.spec.text.tokenizer
    manifest = json.loads((model / "manifest.json").read_text())["files"]
    assert manifest["tokenizer.json"]["sha256"] == stored.fingerprint
    assert "tokenizer" not in json.loads((model / "spec.json").read_text())["data"]["text"]
    assert "tokenizer" not in api.describe(model)["data"]["text"]
    assert f"{stored.vocabulary} different tokens, at most 12 a text" in (model / "card.md").read_text()


def test_a_tokenizer_that_was_changed_or_is_missing_is_refused(model: Path, tmp_path: Path) -> None:
    family = artifact.load(model).family
    for name, damage in {"a": lambda f: f.write_text(f.read_text().replace("red", "rad")), "b": Path.unlink}.items():
        copy = artifact.save(tmp_path / name, family, recipe={}, provenance={})
        damage(copy / "tokenizer.json")
        with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
            artifact.load(copy)
        with pytest.raises(ArtifactError, match=r"fingerprint|tokenizer\.json"):
            artifact.load(copy, verify=False)


def test_words_change_the_samples_and_nothing_else_does(model: Path) -> None:
    family = artifact.load(model).family
    red = api.sample(model, 4, seed=1, text="a large red circle")
    assert red.warnings == () and red.x.shape == (4, *family.data.shape)
    for same in ("A  LARGE red\ncircle", "a large red circle"):
        assert np.array_equal(api.sample(model, 4, seed=1, text=same).x, red.x)
    assert not np.array_equal(api.sample(model, 4, seed=1, text="a large blue circle").x, red.x)
    assert not np.array_equal(api.sample(model, 4, seed=1).x, red.x)
    assert np.array_equal(api.sample(model, 4, seed=1, text="").x, api.sample(model, 4, seed=1).x), "no words, no text"
    exact = api.sample(model, 9, seed=1, text="a large red circle", exact=True).x
    assert np.array_equal(exact[:2], api.sample(model, 2, seed=1, text="a large red circle", exact=True).x)


def test_unknown_words_and_lost_ends_are_said(model: Path) -> None:
    (said,) = api.sample(model, 1, text="a large crimson circle").warnings
    assert "'crimson'" in said and "large" not in said
    long = "a large red circle above a small blue square above a small green cross"
    assert any("'a small green cross'" in w for w in api.sample(model, 1, text=long).warnings)


def test_models_that_read_no_text_say_so(tmp_path: Path) -> None:
    for name, source, options in (
        ("plain", SHAPES, SMALL),
        ("classes", "digits", {**SMALL, "conditional": True}),
        ("wordless", f"{SHAPES},captions=none", SMALL),
    ):
        list(api.training("vae", source, tmp_path / name, options=options, recipe={**QUICK, "steps": 1}))
        with pytest.raises(UsageError, match="reads no text: train one on captioned data"):
            api.sample(tmp_path / name, 1, text="a circle")


def test_the_command_line_takes_a_prompt(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["sample", str(model), "--n", "2", "--text", "a large crimson circle", "--out"]
    assert run([*asked, str(tmp_path / "a.npz")]) == 0
    assert "warning: " in (out := capsys.readouterr().out) and "'crimson'" in out
    with np.load(tmp_path / "a.npz") as stored:
        assert str(stored["text"]) == "a large crimson circle" and stored["x"].shape == (2, 3, 16, 16)
    assert run([*asked, str(tmp_path / "b.png"), "--json"]) == 0
    assert "crimson" in json.loads(capsys.readouterr().out)["warnings"][0]


def test_sheets_show_held_out_captions_and_list_them(model: Path) -> None:
    captions = (model / "samples" / "captions.txt").read_text().splitlines()
    held_out = api.load_data(SHAPES).validation.captions
    assert captions == [held_out[i % len(held_out)] for i in range(64)]


def test_fine_tuning_on_other_words_is_refused(model: Path, tmp_path: Path) -> None:
    options = {**SMALL, "conditional": True}
    with pytest.raises(SpecError, match="other words"):
        api.training("vae", "shapes:size=16,n=400", tmp_path / "m", options=options, recipe={"steps": 1}, start=model)


def test_training_on_words_resumes_bit_for_bit(tmp_path: Path) -> None:
    options = {**SMALL, "conditional": True, "text_encoder": "recurrent"}
    for name, stop in (("whole", None), ("parts", 6)):
        recipe = {**QUICK, "steps": 12, "log_every": 2}
        for event in (events := api.training("vae", SHAPES, tmp_path / name, options=options, recipe=recipe)):
            if stop is not None and event.step >= stop:
                events.close()
                break
    list(api.training("vae", SHAPES, tmp_path / "parts", options=options, recipe=recipe, resume=True))
    whole, parts = (artifact.load(tmp_path / name).family.state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def color_of(pictures: np.ndarray) -> list[str]:
    """The named color of what lies on each picture (n, 3, H, W), by its direction from the background."""
    ground = torch.tensor(BACKGROUND).float()
    away = torch.from_numpy(pictures).float().flatten(2) - ground[:, None]  # (n, 3, pixels)
    mean = (away.square().sum(1, keepdim=True) * away).sum(2)  # pixels count by their distance
    table = torch.tensor(list(COLORS.values())) - ground
    likeness = torch.nn.functional.cosine_similarity(mean[:, None], table, dim=-1)
    return [list(COLORS)[i] for i in likeness.argmax(1).tolist()]


def test_the_judge_of_colors_is_right_on_real_pictures() -> None:
    train = api.load_data("shapes:size=16,n=500").train
    single = [i for i, caption in enumerate(train.captions) if len(caption.split()) == 4]
    found = color_of(train.stored[single].numpy())
    right = [color == train.captions[i].split()[2] for color, i in zip(found, single, strict=True)]
    assert len(right) > 100 and np.mean(right) > 0.99


@pytest.mark.slow
def test_a_small_diffusion_model_obeys_the_word_for_the_color(tmp_path: Path) -> None:
    """Six colors, so chance is 1 in 6, and 60 guesses are right 36 times with probability below 1e-13."""
    data = load("shapes:size=16,n=3000")
    single = torch.tensor([i for i, caption in enumerate(data.train.captions) if len(caption.split()) == 4])
    small = {"widths": (16, 32), "blocks": (1, 1), "steps": 10, "lr": 4e-3, "ema": 0.98}
    family = registry.family("diffusion")
    with Rng(0).forked():
        model = family(family.Spec.parse({**small, "conditional": True}), data.spec)
    recipe = Recipe(steps=450, batch_size=64, device="cpu", log_every=450, **QUICK)
    list(fit(model, Stream(data.train.select(single), 64, seed=0), recipe, tmp_path / "m"))
    right = []
    for color in COLORS:
        drawn = api.sample(tmp_path / "m", 10, seed=3, text=f"a large {color} square", guidance=3.0)
        right += [found == color for found in color_of(drawn.x)]
    assert np.mean(right) > 0.6
