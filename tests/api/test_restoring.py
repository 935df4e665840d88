"""Editing and restoring a user's own pictures, with tiny models: which way each request goes, and what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import morphogen as mg
from morphogen import CapabilityError, DataError, UsageError
from morphogen.cli.main import run
from tests.toys import TOYS, Toys


def gray(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def test_an_edit_begins_with_the_picture(toy: Toys) -> None:
    image = gray(8, 8)
    faint = mg.edit(toy("unet"), image, strength=0.01, n=3, steps=3)
    levels = np.rint(image / 255.0 * 16.0)
    assert faint.x.shape == (3, 1, 8, 8) and np.abs(faint.x - levels).max() <= 2  # noise of 1.6 % of 8 levels
    strong = mg.edit(toy("unet"), image, strength=1.0, n=3)
    other = mg.edit(toy("unet"), 255 - image, strength=1.0, n=3)
    assert np.array_equal(strong.x, other.x)  # nothing of the picture is left
    assert not np.array_equal(strong.x[0], strong.x[1])


def test_an_edit_depends_on_its_seed_and_number_alone(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    image = gray(8, 8)
    whole = mg.edit(toy("unet"), image, n=5, seed=3, label="4", guidance=4.0)
    assert whole.labels is not None and whole.labels.tolist() == [4] * 5
    monkeypatch.setattr("morphogen.applications.denoising_models.CHUNK", 2)
    parts = mg.edit(toy("unet"), image, n=5, seed=3, label="4", guidance=4.0)
    assert np.abs(whole.x.astype(int) - parts.x).max() <= 1
    for changed in ({"seed": 4}, {"label": "5"}, {"guidance": 9.0}, {"strength": 0.7}, {"stepper": "ddpm"}):
        asked = {"seed": 3, "label": "4", "guidance": 4.0, **changed}
        assert not np.array_equal(mg.edit(toy("unet"), image, n=5, **asked).x, whole.x)


@pytest.mark.parametrize("stepper", [None, "ddpm"])
@pytest.mark.parametrize("tiles", [False, True])
def test_a_mask_keeps_what_is_black(toy: Toys, stepper: str | None, tiles: bool) -> None:
    size = 12 if tiles else 8
    image, mask = gray(size, size), np.zeros((size, size), np.uint8)
    mask[:, size // 2 :] = 255
    made = mg.edit(toy("unet"), image, mask=mask, strength=1.0, n=2, tiles=tiles, stepper=stepper)
    kept = np.rint(image / 255.0 * 16.0)[:, : size // 2]
    assert made.x.shape == (2, 1, size, size) and made.spec.shape == (1, size, size)
    assert np.array_equal(made.x[:, 0, :, : size // 2], np.stack([kept, kept]))
    assert not np.array_equal(made.x[0], made.x[1])


def test_pictures_are_brought_to_the_form_of_the_model(toy: Toys, tmp_path: Path) -> None:
    """Color, size in the same proportions, and files of any mode."""
    small = gray(8, 8)
    large = np.kron(small, np.ones((3, 3), np.uint8))
    color = np.stack([small] * 3, axis=-1)
    reference = mg.edit(toy("unet"), small, strength=0.3).x
    assert np.array_equal(mg.edit(toy("unet"), color, strength=0.3).x, reference)
    assert mg.edit(toy("unet"), large, strength=0.3).x.shape == reference.shape
    mask = np.kron(np.eye(8, dtype=np.uint8) * 255, np.ones((3, 3), np.uint8))
    made = mg.edit(toy("unet"), large, mask=mask, strength=1.0).x[0, 0]
    assert made.shape == (8, 8)
    for mode in ("1", "P", "LA", "RGBA", "I;16"):
        picture = Image.fromarray(small) if mode == "I;16" else Image.fromarray(small).convert(mode)
        if mode == "I;16":
            picture = Image.fromarray(small.astype(np.uint16) * 257)
        picture.save(tmp_path / "a.png")
        found = mg.edit(toy("unet"), tmp_path / "a.png", strength=0.3).x
        assert mode in ("1", "P") or np.array_equal(found, reference)


def test_a_model_of_smaller_copies_enlarges(toy: Toys) -> None:
    """Into pictures of which the given one is a smaller copy."""
    low = gray(4, 4)
    found = mg.upscale(toy("flow of small"), low, 2, n=5, seed=1)
    spec, given = mg.load(toy("flow of small")).module.data, np.rint(low / 255.0 * 16.0)
    draws = spec.encode(torch.from_numpy(found.samples))
    again = found.samples.astype(float).reshape(5, 4, 2, 4, 2).mean((2, 4))
    assert np.abs(again - given).mean() < 0.5  # of 16; what leaves the range is cut off
    np.testing.assert_allclose(found.stddev, draws.std(0).numpy() * 8.0, rtol=0, atol=0.5)
    np.testing.assert_allclose(found.uncertainty, found.stddev[0], rtol=1e-4, atol=1e-4)
    assert np.abs(found.mean - found.samples.mean(0)).max() <= 1.0
    assert np.array_equal(mg.restore(toy("flow of small"), low, n=5, seed=1).samples, found.samples)
    assert mg.upscale(toy("gan of small"), low, 2, n=3).samples.shape == (3, 1, 8, 8)


@pytest.mark.parametrize("name", ["flow of small", "unet"])
def test_larger_pictures_are_made_in_windows(toy: Toys, name: str) -> None:
    found = mg.upscale(toy(name), gray(8, 5), 2, n=2, steps=2)
    assert found.samples.shape == (2, 1, 16, 10) and found.mean.shape == (1, 16, 10)
    assert found.uncertainty.shape == (16, 10) and found.spec.shape == (1, 16, 10)


def test_a_model_without_copies_fits_what_was_measured(toy: Toys) -> None:
    """The means of blocks come near to those given, unlike those of samples, even for a model this poor."""
    given = 4.0 + 8.0 * np.eye(4)
    found = mg.upscale(toy("unet"), np.rint(given * 255.0 / 16.0).astype(np.uint8), 2, n=8, steps=20).samples
    free = mg.sample(toy("unet"), 8, steps=20).x

    def misfit(x: np.ndarray) -> float:
        return float(np.abs(x.astype(float).reshape(8, 4, 2, 4, 2).mean((2, 4)) - given).mean())

    assert misfit(found) < 0.5 * misfit(free)


@pytest.mark.parametrize(("degradation", "side"), [("down2", 4), ("blur1", 8), ("noise0.2", 8)])
def test_a_model_that_hides_copies_undoes_others_too(toy: Toys, degradation: str, side: int) -> None:
    found = mg.restore(toy("with and without"), gray(side, side), degradation, n=2, steps=2)
    assert found.samples.shape == (2, 1, 8, 8)
    assert np.array_equal(mg.sample(toy("with and without"), 3).x.shape, (3, 1, 8, 8))
    assert mg.edit(toy("with and without"), gray(8, 8)).x.shape == (1, 1, 8, 8)


def test_gray_pictures_are_colored(toy: Toys) -> None:
    found = mg.restore(toy("color"), gray(8, 8), n=2)
    assert found.samples.shape == (2, 3, 8, 8) and found.uncertainty.shape == (8, 8)
    color = np.stack([gray(8, 8)] * 3, axis=-1)
    assert np.array_equal(mg.restore(toy("color"), color, n=2).samples, found.samples)


def test_latent_models_edit_whole_pictures(toy: Toys, tmp_path: Path) -> None:
    stage, out = toy("autoencoder"), tmp_path / "latent"
    options = {"backbone": "mlp", "hidden": (16,), "steps": 4}
    for _ in mg.training(
        "diffusion", "digits", out, options=options, recipe=TOYS["unet"].recipe, parts={"autoencoder": stage}
    ):
        pass
    assert mg.edit(out, gray(8, 8), n=2).x.shape == (2, 1, 8, 8)
    with pytest.raises(UsageError, match="latent space"):
        mg.edit(out, gray(8, 8), mask=gray(8, 8))
    with pytest.raises(UsageError, match="latent space"):
        mg.upscale(out, gray(4, 4), 2)


@pytest.mark.parametrize(
    ("verb", "name", "shape", "options", "error", "words"),
    [
        ("edit", "vae", (8, 8), {}, CapabilityError, "families that have it: .*diffusion"),
        ("edit", "diffusion of points", (8, 8), {}, UsageError, "a model of pictures"),
        ("edit", "flow of small", (8, 8), {}, UsageError, r"restores pictures \(context=down2\)"),
        ("edit", "unet", (8, 9), {}, DataError, r"is 8x9 and this model's pictures are 8x8"),
        ("edit", "unet", (4, 9), {"tiles": True}, DataError, "smaller than the model's 8x8"),
        ("edit", "unet", (8, 8), {"strength": 0.0}, UsageError, r"lies in \(0, 1\]"),
        ("edit", "unet", (8, 8), {"n": 0}, UsageError, "--n is a whole number from 1"),
        ("edit", "unet", (8, 8), {"label": "cat"}, UsageError, "unknown class 'cat'"),
        ("edit", "unet", (8, 8), {"guidance": 2.0}, UsageError, "guidance leads towards a class or a text"),
        ("edit", "unet", (8, 8), {"text": "a cat"}, UsageError, "reads no text"),
        ("edit", "unet", (8, 8), {"stepper": "hoin"}, UsageError, "unknown stepper"),
        ("upscale", "gan of small", (4, 4), {"scale": 2, "steps": 3}, UsageError, "not sampled with 'steps'"),
        ("edit", "unet", (8, 8), {"mask": np.zeros((8, 8), np.uint8)}, UsageError, "the mask is black"),
        ("edit", "unet", (8, 8), {"mask": np.ones((4, 4), np.uint8)}, DataError, "the mask is 4x4, the picture 8x8"),
        ("restore", "unet", (8, 8), {}, UsageError, "a degradation such as down4"),
        ("restore", "unet", (8, 8), {"degradation": "dwon2"}, UsageError, "did you mean 'down'"),
        ("restore", "unet", (8, 8), {"degradation": "gray"}, DataError, "takes the color away"),
        (
            "restore",
            "flow of small",
            (8, 8),
            {"degradation": "blur1"},
            UsageError,
            "trained to undo down2, not blur1",
        ),
        ("restore", "vae", (4, 4), {"degradation": "down2"}, CapabilityError, "Denoises"),
        ("restore", "diffusion of points", (4, 4), {"degradation": "down2"}, UsageError, "a model of pictures"),
        ("upscale", "unet", (4, 4), {"scale": 1}, UsageError, "--scale is a whole number from 2"),
        ("upscale", "unet", (4, 4), {"scale": 2, "n": 1}, UsageError, "at least 2 samples"),
        ("upscale", "unet", (2, 4), {"scale": 2}, DataError, "would become 4x8, smaller"),
        ("upscale", "gan of small", (6, 6), {"scale": 2}, CapabilityError, "Denoises"),
    ],
)
def test_what_cannot_be_is_said(
    toy: Toys,
    verb: str,
    name: str,
    shape: tuple[int, int],
    options: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        getattr(mg, verb)(toy(name), gray(*shape), **options)


def test_sampling_a_model_of_copies_names_the_way(toy: Toys) -> None:
    with pytest.raises(UsageError, match=r"context=down2.*morphogen upscale"):
        mg.sample(toy("flow of small"), 2)


def test_bad_files_are_one_paragraph(toy: Toys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name, words in (("nothing.png", "No such file"), ("text.png", "cannot be read as a picture")):
        assert run(["edit", str(toy("unet")), str(tmp_path / name), "--out", str(tmp_path / "out.png")]) == 1
        err = capsys.readouterr().err
        assert err.startswith("Error: ") and words in err and name in err and "Traceback" not in err
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(DataError, match="a picture is bytes"):
        mg.edit(toy("unet"), np.zeros((8, 8)))


def test_the_command_line_goes_the_whole_way(toy: Toys, tmp_path: Path) -> None:
    Image.fromarray(gray(8, 8)).save(tmp_path / "a.png")
    out = tmp_path / "large.png"
    assert run(["upscale", str(toy("flow of small")), str(tmp_path / "a.png"), "--scale", "2", "--out", str(out)]) == 0
    with Image.open(out) as image, Image.open(tmp_path / "large-uncertainty.png") as shades:
        assert image.size == shades.size == (16, 16)


def test_an_edit_of_a_larger_picture_says_what_size_it_has(toy: Toys) -> None:
    said = "the model's 8x8 pixels, and the picture has 24x24; in windows it keeps its size"
    with pytest.warns(mg.MorphogenWarning, match=said):
        assert mg.edit(toy("unet"), gray(24, 24), steps=2).x.shape == (1, 1, 8, 8)
