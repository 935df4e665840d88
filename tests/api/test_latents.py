"""Walks, directions and edits in the latent spaces of tiny models, through the functions that a user calls."""

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
from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.families.gan import GAN
from morphogen.families.gan_spec import GANSpec
from morphogen.report.saving import npz
from tests.toys import TOYS, Toys


@pytest.fixture(scope="module")
def of_digits(toy: Toys) -> Any:
    return mg.directions(toy("vae"), "digits")


def picture(row: int = 0) -> np.ndarray:
    """An 8 x 8 digit of the test split, as bytes."""
    stored = mg.load_data("digits").split("test").stored[row, 0].numpy()
    return np.rint(stored * (255.0 / 16.0)).astype(np.uint8)


# ------------------------------------------------------------------------ walks


@pytest.mark.parametrize("name", ["gan", "vae", "ladder", "mlp"])
def test_a_walk_leads_through_the_first_samples_of_the_seed(toy: Toys, name: str) -> None:
    walk, samples = mg.walk(toy(name), 8, 4, seed=2), mg.sample(toy(name), 4, seed=2)
    assert walk.x.shape == (8, 1, 8, 8)
    assert np.abs(walk.x[::2].astype(int) - samples.x).max() <= 1
    assert not np.array_equal(walk.x[1], walk.x[0]) and not np.array_equal(walk.x[1], walk.x[2])


def test_a_walk_is_the_same_in_any_chunks_and_closes(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way from the last frame to the first is no longer than others: on a finer walk each step is shorter."""
    whole = mg.walk(toy("gan"), 60, 3, seed=1).x.astype(int)
    monkeypatch.setattr("morphogen.applications.sampling.CHUNK", 7)
    assert np.abs(mg.walk(toy("gan"), 60, 3, seed=1).x - whole).max() <= 1
    steps = np.linalg.norm((np.roll(whole, -1, axis=0) - whole).reshape(60, -1), axis=1)
    assert steps[-1] <= steps[:-1].max()
    assert np.linalg.norm(whole[0] - whole[30]) > 2 * steps.max()


def test_a_walk_takes_the_options_of_sampling(toy: Toys) -> None:
    still = mg.walk(toy("gan"), 4, 2, truncation=0.0).x
    assert np.array_equal(still, np.repeat(still[:1], 4, axis=0))
    named = mg.walk(toy("conditional gan"), 4, 2, label=3)
    assert named.labels is not None and named.labels.tolist() == [3] * 4
    assert not np.array_equal(named.x, mg.walk(toy("conditional gan"), 4, 2, label=4).x)


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("codes", {}, CapabilityError, r"uniform numbers \('codes'\)"),
        ("vamp", {}, CapabilityError, r"uniform numbers \('component'\)"),
        ("autoencoder", {}, CapabilityError, "Samples; families that have it"),
        ("gan of small", {}, UsageError, "makes pictures from pictures"),
        ("gan", {"stops": 1}, UsageError, "--stops is a whole number from 2"),
        ("gan", {"frames": 5}, UsageError, "at least as many frames"),
        ("gan", {"frames": 0}, UsageError, "--frames is a whole number from 2"),
        ("gan", {"temperature": 0.5}, UsageError, "not sampled with 'temperature'; its options: truncation"),
        ("gan", {"candidates": 2}, CapabilityError, r"uniform numbers \('chosen'\)"),
        ("gan", {"label": 1}, UsageError, "knows no classes"),
    ],
)
def test_walks_that_cannot_be_are_refused(
    toy: Toys, name: str, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        mg.walk(toy(name), **options)


# ------------------------------------------------------------------- directions


def test_a_models_own_directions_are_the_singular_vectors_of_its_first_map() -> None:
    """In float64, for a first map U S V^T on z's columns with what a condition has beside them."""
    data = DataSpec(name="digits", shape=(1, 8, 8), kind="continuous", levels=17, classes=("a", "b"))
    family = GAN(GANSpec.parse({**TOYS["conditional gan"].options}), data).double()
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(n, 5)))[0] for n in (16, 5))
    singular = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    with torch.no_grad():
        family.generator.first_map()[:, :5] = torch.from_numpy(u * singular @ v.T)
    signs = np.sign(v[np.abs(v).argmax(0), np.arange(5)])
    assert family.directions(5).dtype == torch.float64
    np.testing.assert_allclose(family.directions(5).numpy(), (v * signs).T, atol=1e-12)


def test_directions_of_classes_order_held_out_records(toy: Toys, of_digits: Any) -> None:
    assert of_digits.names == tuple("0123456789") and of_digits.vectors.shape == (10, 8)
    assert of_digits.n == 250 and of_digits.warnings == ()
    assert (of_digits.ordered > 0.8).all()  # by chance 0.5
    assert (of_digits.interval[:, 0] <= of_digits.ordered).all()
    assert (of_digits.ordered <= of_digits.interval[:, 1]).all()
    codes, again = mg.encode(toy("vae"), "digits"), mg.directions(toy("vae"), "digits")
    assert np.array_equal(again.vectors, of_digits.vectors)
    # On all test records it leads to those of its class: the measure is no accident of the records it was taken on.
    assert codes.labels is not None
    along = codes.mean @ of_digits.vectors.T
    for k in range(10):
        assert along[codes.labels == k, k].mean() > along[codes.labels != k, k].mean()


def test_a_gan_has_its_own_and_those_of_classes(toy: Toys) -> None:
    found = mg.directions(toy("gan"), "digits", n=200, factors=2)
    assert found.names[:2] == ("factor-1", "factor-2") and set(found.names[2:]) <= set("0123456789")
    assert np.isnan(found.ordered[:2]).all() and not np.isnan(found.ordered[2:]).any()
    own = mg.directions(toy("gan"))
    assert own.names == tuple(f"factor-{k}" for k in range(1, 6)) and own.n == 0
    assert np.array_equal(own.vectors[:2], found.vectors[:2])
    np.testing.assert_allclose(own.vectors @ own.vectors.T, np.eye(5), atol=1e-5)


def test_classes_with_too_few_records_are_named(toy: Toys) -> None:
    found = mg.directions(toy("vae"), "digits", n=100)
    (warning,) = found.warnings
    assert 0 < len(found.names) < 10
    assert warning.startswith("too few of the records") and all(k in found.names or k in warning for k in "0123456789")


def test_directions_that_cannot_be_found_are_refused(toy: Toys) -> None:
    points = str(toy("gan of points").with_name("points.npz"))
    for call, error, words in [
        (lambda: mg.directions(toy("vae")), CapabilityError, r"no directions of its own \(families that have: gan\)"),
        (lambda: mg.directions(toy("mlp"), "digits"), CapabilityError, "Encodes; families that have it"),
        (lambda: mg.directions(toy("gan of small")), UsageError, r"makes pictures from pictures \(context=down2\)"),
        (lambda: mg.directions(toy("gan"), n=9), UsageError, "at least 10 records"),
        (lambda: mg.directions(toy("gan"), factors=-1), UsageError, "--factors is a whole number from 0"),
        (lambda: mg.directions(toy("gan"), factors=0), DataError, "no direction to find"),
        (lambda: mg.directions(toy("gan of points"), points), DataError, "nothing is known of the records"),
    ]:
        with pytest.raises(error, match=words):
            call()


# ------------------------------------------------------------------------ edits


@pytest.mark.parametrize("name", ["gan", "vae", "autoencoder", "ladder", "codes"])
def test_an_edit_is_the_decoded_step_from_the_encoded_picture(toy: Toys, name: str) -> None:
    """Of strength 0, the reconstruction."""
    family: Any = mg.load(toy(name)).module
    found = mg.directions(toy(name), "digits", n=100, factors=2)
    made = mg.edit_latent(toy(name), picture(), found.names[:2], [-2.0, 0.0, 1.5], directions=found)
    assert made.x.shape == (6, 1, 8, 8) and made.directions == found.names[:2]
    with torch.no_grad():
        x = mg.load_data("digits").split("test").batch(slice(0, 1)).x
        z = family.encode(x).mean
        for row, (k, s) in enumerate((k, s) for k in (0, 1) for s in (-2.0, 0.0, 1.5)):
            moved = z + s * torch.from_numpy(found.vectors[k]).to(z.dtype).view(z.shape)
            expected = family.data.decode(family.decode(moved).mean).numpy()[0]
            assert np.abs(made.x[row].astype(int) - expected).max() <= 1
        rebuilt = family.decode(z).mean
    assert np.abs(made.x[1].astype(int) - made.x[4]).max() == 0
    assert made.rmse == pytest.approx(127.5 * float((rebuilt - x).square().mean().sqrt()), rel=1e-3)
    assert (made.baseline is None) == (name == "autoencoder")


def test_the_error_stands_beside_that_of_the_mean_picture(toy: Toys, of_digits: Any) -> None:
    good = mg.edit_latent(toy("vae"), picture(), "3", directions=of_digits)
    assert good.baseline is not None and good.rmse < good.baseline and good.warnings == ()
    mean = mg.sample(toy("vae"), 64).x.astype(float).mean(0)
    original = np.rint(picture() * (16.0 / 255.0))
    assert good.baseline == pytest.approx(np.sqrt(np.square(mean - original).mean()) * 255.0 / 16.0, abs=1.0)
    for image in (255 - picture(), np.full((8, 8), 255, np.uint8)):
        other = mg.edit_latent(toy("vae"), image, "3", directions=of_digits)
        assert other.baseline is not None and other.rmse > good.rmse
        assert ["cannot make this picture" in w for w in other.warnings] == [True] * (other.rmse >= other.baseline)
    poor = mg.edit_latent(toy("gan"), 255 - picture(), "factor-1")
    assert len(poor.warnings) == (poor.rmse >= (poor.baseline or 0.0))


def test_an_edit_towards_a_class_looks_like_it(toy: Toys, of_digits: Any) -> None:
    """On average over pictures of other classes, it gets nearer to the mean of that class than to those of all."""
    data = mg.load_data("digits")
    labels, others = data.train.labels, data.split("test").labels
    assert labels is not None and others is not None
    means = torch.stack([data.train.stored[labels == k].float().mean(0).flatten() for k in range(10)])
    nearer = torch.zeros(10)
    for row in range(6):
        made = mg.edit_latent(toy("vae"), picture(row), of_digits.names, [0.0, 3.0], directions=of_digits)
        distance = torch.cdist(torch.from_numpy(made.x).float().flatten(1), means).view(10, 2, 10)
        share = distance.diagonal(dim1=0, dim2=2).T / distance.mean(2)  # (10 directions, 2 strengths)
        nearer += (share[:, 0] - share[:, 1]) * (torch.arange(10) != others[row])
    assert (nearer > 0).all()


def test_a_conditional_model_keeps_the_class_that_is_given(toy: Toys) -> None:
    family: Any = mg.load(toy("conditional gan")).module
    made = mg.edit_latent(toy("conditional gan"), picture(), "factor-1", 0.0, label=3)
    x = mg.load_data("digits").split("test").batch(slice(0, 1)).x
    cond = RawCondition(label=torch.tensor([3]))
    with torch.no_grad():
        rebuilt = family.decode(family.encode(x, cond).mean, cond).mean
    assert np.abs(made.x.astype(int) - family.data.decode(rebuilt).numpy()).max() <= 1
    assert not np.array_equal(made.x, mg.edit_latent(toy("conditional gan"), picture(), "factor-1", 0.0).x)


def test_pictures_are_brought_to_the_form_of_the_model(toy: Toys) -> None:
    one = mg.edit_latent(toy("gan"), picture(), "factor-1")
    large = np.kron(picture(), np.ones((3, 3), np.uint8))
    color = np.stack([picture()] * 3, axis=-1)
    assert one.x.shape == mg.edit_latent(toy("gan"), large, "factor-1").x.shape
    assert np.array_equal(mg.edit_latent(toy("gan"), color, "factor-1").x, one.x)
    with pytest.raises(DataError, match=r"is 8x9 .* cut it to the same proportions\.$"):
        mg.edit_latent(toy("gan"), np.zeros((8, 9), np.uint8), "factor-1")


def test_edits_that_cannot_be_are_refused(toy: Toys, of_digits: Any, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for name, direction, how, error, words in [
        ("gan", "smile", {}, UsageError, r"unknown direction 'smile': known are factor-1 to factor-5\. Those of"),
        ("gan", "factor-6", {}, UsageError, "known are factor-1 to factor-5"),
        ("vae", "3", {}, UsageError, r"known are none.*--data SOURCE --out FILE.npz"),
        ("vae", "30", {"directions": of_digits}, UsageError, "known are 0, 1, 2, 3"),
        ("gan", "3", {"directions": of_digits}, UsageError, "found for another model"),
        ("vae", "3", {"directions": tmp_path / "nowhere.npz"}, DataError, "no such file"),
        ("vae", "3", {"directions": tmp_path / "text.npz"}, DataError, "holds no directions"),
        ("vae", "3", {"directions": tmp_path / "other.npz"}, DataError, "holds no directions"),
        ("gan", "factor-1", {"strength": float("nan")}, UsageError, "--strength is a number"),
        ("gan", "factor-1", {"strength": []}, UsageError, "a direction and a strength"),
        ("gan", "factor-1", {"label": 3}, UsageError, "knows no classes"),
        ("conditional gan", "factor-1", {"label": "cat"}, UsageError, "unknown class 'cat'"),
        ("mlp", "factor-1", {}, CapabilityError, "Encodes; families that have it: .*gan"),
        ("gan of small", "factor-1", {}, UsageError, "makes pictures from pictures"),
        ("gan of points", "factor-1", {}, UsageError, "a model of pictures"),
    ]:
        with pytest.raises(error, match=words):
            mg.edit_latent(toy(name), picture(), direction, **how)


def test_directions_come_back_from_their_file(toy: Toys, of_digits: Any, tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_bytes(npz(of_digits.arrays()))
    read, given = (
        mg.edit_latent(toy("vae"), picture(), ["3", "8"], directions=d).x for d in (tmp_path / "d.npz", of_digits)
    )
    assert np.array_equal(read, given)


def test_the_command_line_goes_the_whole_way(toy: Toys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vae, kept = str(toy("vae")), str(tmp_path / "d.npz")
    Image.fromarray(picture()).save(tmp_path / "a.png")
    assert run(["walk", vae, "--frames", "8", "--stops", "2", "--out", str(tmp_path / "w.gif")]) == 0
    assert run(["directions", vae, "--data", "digits", "--n", "200", "--out", kept]) == 0
    assert "chance 0.5" in capsys.readouterr().out
    line = ["edit-latent", vae, str(tmp_path / "a.png"), "--direction", "3", "--strength", "-3,0,3"]
    assert run([*line, "--directions", kept, "--out", str(tmp_path / "e.png")]) == 0
    assert "the model's own rendering is off by" in capsys.readouterr().out
    assert run([*line, "--out", str(tmp_path / "f.png")]) == 2
    assert not (tmp_path / "f.png").exists()
    with Image.open(tmp_path / "w.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 8


def test_batch_size_limits_what_is_computed_together(toy: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mg.load(toy("vae"))
    seen: list[int] = []
    encode = model.module.encode
    monkeypatch.setattr(model.module, "encode", lambda x, cond=None: (seen.append(len(x)), encode(x, cond))[1])
    few, all_of_them = (model.encode("digits", n=20, batch_size=size).mean for size in (7, None))
    assert seen == [7, 7, 6, 20] and np.allclose(few, all_of_them, atol=1e-6)
    seen.clear()
    model.evaluate("digits", ["nll"], n=40, samples=2, batch_size=16, save=False)
    assert max(seen) <= 16
