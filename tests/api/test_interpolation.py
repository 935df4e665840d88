"""Walks between two pictures of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import morphogen as api
from morphogen.core.errors import UsageError


def test_two_pictures_of_ones_own_are_the_ends_of_a_walk(tmp_path: Path) -> None:
    options = {"latent_dim": 3, "hidden": (8,)}
    plain = api.train("vae", "digits:binary", tmp_path / "m", steps=30, options=options)
    stored = api.load_data("digits:binary").split("test").stored[:2]
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file, picture in zip(files, stored.numpy(), strict=True):
        Image.fromarray((picture[0] * 255).astype(np.uint8)).save(file)
    walk = api.interpolate(plain, between=(files[0], files[1]), steps=5)
    _, ends = api.reconstruct(plain, "digits", 2)
    assert len(walk) == 5 and walk.ids is None
    assert np.allclose(walk.x[[0, -1]], ends.x, atol=1e-5)
    for came, given in (("neither", {}), ("both", {"data": "digits", "between": (files[0], files[1])})):
        with pytest.raises(UsageError, match=f"got {came}"):
            api.interpolate(plain, **given)


def test_the_ends_of_a_denoisers_walk_are_the_pictures() -> None:
    model = api.load("emoji")
    drawn = model.sample(8, seed=3).x.astype(float)
    first, last = drawn[:2].astype(np.uint8).transpose(0, 2, 3, 1)
    walk = model.interpolate(between=(first, last), steps=3).x.astype(float)
    assert walk.shape == (3, 3, 32, 32)
    spread = np.square(drawn - drawn.mean(0)).mean()
    assert np.square(walk[[0, -1]] - drawn[:2]).mean() < 0.03 * spread
    assert np.square(walk[1] - walk[0]).mean() > 0.1 * spread < np.square(walk[1] - walk[2]).mean()
