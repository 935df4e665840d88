"""Lines that a newcomer guesses do what they seem to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

import morphogen as mg

pytestmark = pytest.mark.filterwarnings("ignore::morphogen.MorphogenWarning")
SMALL: dict[str, Any] = {"backbone": "mlp", "hidden": (8,), "latent_dim": 2, "batch_size": 8, "steps": 1}
X = np.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=np.uint8)
Y = np.arange(64) % 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> mg.Model:
    return mg.train("vae", "digits", tmp_path_factory.mktemp("guessed") / "model", conditional=True, **SMALL)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ------------------------------------------------------------------ a model


def test_train_trains_and_gives_the_model(model: mg.Model) -> None:
    assert isinstance(model, mg.Model)
    assert isinstance(model.module, torch.nn.Module)
    assert (model.path / "weights.safetensors").exists()
    assert "vae" in repr(model) and "digits" in repr(model)


def test_a_model_is_loaded_by_its_path(model: mg.Model) -> None:
    drawn = model.sample(3, seed=1).x
    for same in (mg.load(model.path), mg.load(str(model.path), device="cpu")):
        assert np.array_equal(same.sample(3, seed=1).x, drawn)
    assert np.array_equal(mg.sample(model, 3, seed=1).x, drawn)
    assert np.array_equal(mg.sample(str(model.path), 3, seed=1).x, drawn)


def test_the_loop_gives_events_and_leaves_a_model() -> None:
    steps = [event.step for event in mg.training("vae", "digits", "looped", **SMALL)]
    assert steps[-1] == 1
    assert mg.load("looped").family == "vae"


def test_training_goes_on_by_itself() -> None:
    mg.train("vae", "digits", "run", **SMALL)
    assert mg.train(out="run", resume=True).fingerprint == mg.load("run").fingerprint


def test_a_wrong_word_is_answered_with_the_right_one() -> None:
    with pytest.raises(mg.UsageError, match="latent_dim"):
        mg.train("vae", "digits", "never", latent=8)
    with pytest.raises(mg.UsageError, match="out"):
        mg.train("vae", "digits")
    assert not Path("never").exists()


def test_describe_says_what_it_is(model: mg.Model) -> None:
    assert model.describe()["family"] == mg.describe(model.path)["family"] == "vae"
    assert mg.verify(model).family == "vae"
    for result in (model.describe(), mg.verify(model)):
        assert json.loads(result.save("said.json").read_text()) == json.loads(json.dumps(result.to_dict()))


# ------------------------------------------------------------------ pictures


def test_samples_are_counted_looked_at_and_saved(model: mg.Model) -> None:
    pictures = model.sample(4, label=3)
    assert len(pictures) == len(pictures.images) == len(list(pictures)) == 4
    assert isinstance(pictures[0], Image.Image) and pictures[-1].size == (8, 8)
    assert pictures.labels is not None and set(pictures.labels) == {3}
    assert np.asarray(pictures).shape == (4, 8, 8)
    assert pictures.save("sheet.png") == Path("sheet.png") and Image.open("sheet.png").width > 16
    assert len(list(pictures.save("four").iterdir())) == 4
    assert np.array_equal(np.load(pictures.save("four.npz"))["x"], pictures.x)


def test_what_a_model_makes_goes_back_into_it(model: mg.Model) -> None:
    pictures = model.sample(5, label="3")
    assert model.encode(pictures.x).mean.shape == (5, 2)
    pictures.save("five.npz")
    assert len(mg.inspect_data("five.npz").dataset.splits["train"]) > 0


@pytest.mark.parametrize("binary", ["binary", "binary=0.5"])
def test_black_and_white_may_be_0_and_1_or_0_and_255(binary: str, tmp_path: Path) -> None:
    trained = mg.train("vae", f"digits:{binary}", tmp_path / "binary", **SMALL)
    x = (X[:6] > 128).astype(np.uint8)
    assert np.array_equal(trained.reconstruct(x).original.x[:, 0], x)
    assert np.array_equal(trained.encode(x).mean, trained.encode(255 * x).mean)


def test_arrays_are_used_whole_and_in_their_order(model: mg.Model) -> None:
    x = np.random.default_rng(1).integers(0, 17, (7, 8, 8), dtype=np.uint8)
    whole = model.encode(x)
    assert len(whole) == 7
    for i in (0, 6):
        np.testing.assert_allclose(model.encode(x[i : i + 1]).mean[0], whole.mean[i], rtol=1e-4, atol=1e-5)
    original, made = model.reconstruct(x, n=3)
    assert np.array_equal(original.x[:, 0], x[:3]) and len(made) == 3
    assert len(model.encode(x, split="test")) < 7, "a split that is named is one that is set aside"


def test_a_picture_may_be_an_image(model: mg.Model) -> None:
    picture = model.sample(1)[0]
    directions = model.directions("digits", factors=1, n=100)
    edits = [model.edit_latent(given, directions.names[-1], directions=directions) for given in (picture,)]
    picture.save("picture.png")
    edits.append(model.edit_latent("picture.png", directions.names[-1], directions=directions))
    assert np.array_equal(edits[0].x, edits[1].x)


# ------------------------------------------------------------------ numbers


def test_a_result_is_found_by_its_name(model: mg.Model) -> None:
    report = model.evaluate("digits", "nll", n=20)
    assert len(report) == 1 and "nll" in report and "fd" not in report
    low, high = report["nll"].interval or (1.0, 0.0)
    assert low < report["nll"].value < high
    assert [result.name for result in report] == ["nll"]
    assert report.to_dict()["results"][0]["value"] == report["nll"].value
    assert report.save("report.json").stat().st_size > 100
    with pytest.raises(KeyError, match="nll"):
        report["nil"]


# ------------------------------------------------------------------ data


class Pairs(Dataset[Any]):
    """As of torchvision: pictures and class numbers, one by one."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        return Image.fromarray(X[i]), int(Y[i])


class Frame:
    """As of pandas: columns by name."""

    def __init__(self) -> None:
        self._columns = {"a": X[:, 0, 0], "b": X[:, 0, 1] / 255, "label": np.array(["u", "v"] * 32, dtype=object)}
        self.columns = list(self._columns)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name]

    def to_numpy(self) -> np.ndarray:
        return np.stack([self._columns[name] for name in self.columns], axis=1)

    def __len__(self) -> int:
        return 64


ONE, THREE = (1, 8, 8), ("0", "1", "2")
PALETTES = [Image.fromarray(np.stack([x, x.T, 255 - x], axis=2)).quantize(16) for x in X]
TABLE = TensorDataset(torch.rand(80, 5), torch.arange(80) % 3)
GIVEN: dict[str, tuple[Callable[[], Any], tuple[int, ...], tuple[str, ...]]] = {
    "bytes": (lambda: X, ONE, ()),
    "real numbers": (lambda: X / 255.0, ONE, ()),
    "a tensor": (lambda: torch.from_numpy(X)[:, None], ONE, ()),
    "records and labels": (lambda: (X, Y), ONE, THREE),
    "records and names": (lambda: (X, np.array(["cat", "dog"])[Y % 2]), ONE, ("cat", "dog")),
    "lists": (lambda: (list(X), Y.tolist()), ONE, THREE),
    "a mapping": (lambda: {"images": X, "labels": Y}, ONE, THREE),
    "images": (lambda: [Image.fromarray(x) for x in X], ONE, ()),
    "color images": (lambda: [Image.fromarray(x).convert("RGB") for x in X], (3, 8, 8), ()),
    "images with a palette": (lambda: PALETTES, (3, 8, 8), ()),
    "tensors alone": (lambda: TensorDataset(torch.rand(64, 5)), (5,), ()),
    "tensors and labels": (lambda: TABLE, (5,), THREE),
    "a subset": (lambda: Subset(TABLE, range(64)), (5,), THREE),
    "pictures and classes": (Pairs, ONE, THREE),
    "a frame": (Frame, (2,), ("u", "v")),
    "rows of two numbers": (lambda: [[0.1 * i, 0.2] for i in range(64)], (2,), ()),
    "points": (lambda: [(0.1 * i, 0.2) for i in range(64)], (2,), ()),
}


@pytest.mark.parametrize("name", GIVEN)
def test_data_are_taken_for_what_they_are(name: str) -> None:
    make, shape, classes = GIVEN[name]
    data = mg.load_data(make())
    assert data.spec.shape == shape
    assert data.spec.classes == classes
    assert sum(map(len, data.splits.values())) == (80 if name == "tensors and labels" else 64)
    if classes:
        labels = torch.cat([records.labels for records in data.splits.values() if records.labels is not None])
        assert set(labels.tolist()) == set(range(len(classes)))


def test_a_model_learns_from_data_in_memory() -> None:
    trained = mg.train("vae", (X, Y), "memory", conditional=True, **SMALL)
    assert trained.sample(2, label="1").x.shape == (2, *ONE)
    assert len(trained.encode((X[:5], Y[:5]))) == 5
    assert mg.inspect_data((X, Y)).spec.classes == THREE


def test_the_colors_of_a_palette_are_those_that_are_seen() -> None:
    for records in mg.load_data(PALETTES).splits.values():
        for i, stored in zip(records.ids.tolist(), records.stored.numpy(), strict=True):
            assert np.array_equal(stored, np.asarray(PALETTES[i].convert("RGB")).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "no records"),
        (iter(X), "cannot take records"),
        ([X[0], X[1][:4]], "record 1 has shape"),
        ([(X[0], X[1])] * 64, "pairs"),
        ([{"image": X[0]}] * 64, "numbers"),
        (3, "cannot take records"),
    ],
)
def test_other_things_are_refused_in_words(given: Any, said: str) -> None:
    with pytest.raises(mg.DataError, match=said):
        mg.load_data(given)


# ------------------------------------------------------------------ a notebook


def shown(model: mg.Model) -> Iterator[Any]:
    yield from (model, model.sample(2), model.reconstruct("digits", n=2), model.encode("digits", n=3))
    yield from (model.describe(), model.evaluate("digits", "nll", n=20), mg.verify(model), mg.inspect_data("digits"))


def test_every_result_shows_itself_in_a_notebook(model: mg.Model) -> None:
    for result in shown(model):
        png, html = (getattr(result, f"_repr_{kind}_", lambda: None)() for kind in ("png", "html"))
        assert (png and png.startswith(b"\x89PNG")) or (html and html.startswith("<")), type(result).__name__


def test_no_result_prints_all_its_numbers(model: mg.Model) -> None:
    for result in (model.sample(20), model.encode("digits"), model.reconstruct("digits", n=20)):
        assert len(repr(result)) < 600 and type(result).__name__ in repr(result)
    assert "(20, 1, 8, 8)" in repr(model.sample(20))
