"""Models of one folder at two sizes are compared at the smaller one, on the same held-out pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import morphogen as mg
from morphogen import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::morphogen.MorphogenWarning")
SMALL = {"backbone": "mlp", "hidden": (8,), "latent_dim": 2, "steps": 1, "batch_size": 8, "device": "cpu"}


def test_models_of_two_sizes_compare_at_the_smaller_one(tmp_path: Path) -> None:
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for i in range(60):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    large = mg.train("vae", f"{folder}:size=16", tmp_path / "large", **SMALL)
    small = mg.train("vae", f"{folder}:size=8", tmp_path / "small", **SMALL)
    both = mg.compare([large, small], folder, ["kid"], save=False)
    assert both.models[0].notes == (f"its pictures of 3 x 16 x 16 are compared at 3 x 8 x 8, as {small.path} has them",)
    assert both.models[1].notes == ()
    assert [one.of["model"] for one in both.models] == [str(large.path), str(small.path)]
    alone = mg.evaluate(small, folder, ["kid"], save=False)
    assert both.models[1]["KID"].value == alone["KID"].value
    (difference,) = both.differences
    assert difference.value == pytest.approx(both.models[0]["KID"].value - alone["KID"].value, abs=1e-9)
    with pytest.raises(UsageError, match="another size: name metrics of samples"):
        mg.compare([large, small], folder, ["nll"], save=False)


def test_a_folder_is_prepared_as_the_model_it_starts_from(tmp_path: Path) -> None:
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    folder.mkdir()
    for i in range(60):
        Image.fromarray(rng.integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    first = mg.train("vae", f"{folder}:size=16,resize=crop", tmp_path / "first", **SMALL)
    second = mg.train("vae", folder, tmp_path / "second", steps=1, start=first)
    assert second.describe()["data"]["shape"] == [3, 16, 16] and second.describe()["options"]["hidden"] == [8]
