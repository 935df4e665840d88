"""The frozen feature networks: what goes in, what comes out, and that they are those that results are named after."""

import hashlib
import os
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError, CapabilityError, DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import load
from morphogen.evaluation.context.degradations import blurred
from morphogen.evaluation.features import frozen as module
from morphogen.evaluation.features.frozen import NAMES, FeatureNetwork, fitted, frozen, read, suited
from morphogen.evaluation.features.trunk import words_of
from morphogen.theory.divergences import frechet_distance

needs_data = pytest.mark.skipif(not os.environ.get("MORPHOGEN_DATA"), reason="MORPHOGEN_DATA is not set")


@pytest.fixture(scope="module")
def networks():
    return {name: frozen(name) for name in NAMES}


def pictures(n, shape, purpose="x"):
    return Rng(0).uniform(purpose, n, shape) * 2 - 1


def distance(network, a, b):
    moments = [(f.mean(0), f.T.cov()) for f in (network(a).double(), network(b).double())]
    return float(frechet_distance(*moments[0], *moments[1]))


def small(**options):
    with Rng(0).forked():
        return FeatureNetwork(1, 16, (4, 8), 5, **options).eval().requires_grad_(False)


@pytest.mark.parametrize("name", NAMES)
def test_files_are_small_and_named_by_their_hash(name, networks):
    content = Path(str(files("morphogen.evaluation.features") / "weights" / f"{name}.safetensors")).read_bytes()
    network = networks[name]
    assert len(content) <= 1_000_000
    assert network.sha256 == hashlib.sha256(content).hexdigest()
    assert network.name == f"{name}-{network.sha256[:4]}"
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert {"recipe", "data", "seed", "minutes of one core", "accuracy"} <= network.about.keys()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (4, 33, 21), (1, 8, 8), (3, 64, 100)])
def test_pictures_of_all_sizes_and_channels_have_features(name, shape, networks):
    features = networks[name](pictures(3, shape))
    assert features.shape == (3, networks[name].dim) and features.dtype == torch.float32
    assert features.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_does_not_matter(name, networks):
    network = networks[name]
    x = pictures(503, (1, 28, 28))  # more than two chunks
    together = network(x)
    for rows in (slice(0, 1), slice(249, 252), slice(496, 503)):
        assert torch.allclose(network(x[rows]), together[rows], atol=1e-4)
    assert network(x[:0]).shape == (0, network.dim)


def test_channels_are_adapted_as_stated():
    rgb = pictures(2, (3, 12, 12))
    gray = rgb[:, :1]
    opaque = torch.cat((rgb, torch.ones(2, 1, 12, 12)), dim=1)
    clear = torch.cat((rgb, -torch.ones(2, 1, 12, 12)), dim=1)
    half = torch.cat((rgb, torch.zeros(2, 1, 12, 12)), dim=1)
    assert torch.allclose(fitted(opaque, 3, 12), rgb, atol=1e-6)
    assert torch.equal(fitted(clear, 3, 12), torch.ones(2, 3, 12, 12))
    assert torch.allclose(fitted(half, 3, 12), (rgb + 1) / 2, atol=1e-6)
    assert torch.equal(fitted(gray, 3, 12), gray.expand(-1, 3, -1, -1))
    luma = 0.299 * rgb[:, 0] + 0.587 * rgb[:, 1] + 0.114 * rgb[:, 2]
    assert torch.allclose(fitted(rgb, 1, 12)[:, 0], luma, atol=1e-6)
    assert torch.equal(fitted(gray, 1, None), gray)


def test_resizing_has_an_antialiasing_filter():
    stripes = torch.ones(1, 1, 64, 64)
    stripes[..., ::2] = -1.0
    assert fitted(stripes, 1, 16)[..., 2:-2].abs().max() < 0.05  # the mean, where picking pixels would give a one
    flat = torch.full((1, 1, 9, 40), 0.3)
    assert torch.allclose(fitted(flat, 1, 16), torch.full((1, 1, 16, 16), 0.3), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 28, 28), (2, 2, 28, 28), (2, 1, 7, 28), (2, 5)])
def test_what_is_no_picture_is_refused(shape):
    with pytest.raises(DataError, match="expected pictures"):
        small()(torch.zeros(shape))


def test_bytes_are_refused():
    with pytest.raises(DataError, match="uint8"):
        small()(torch.zeros(1, 1, 16, 16, dtype=torch.uint8))


def test_a_saved_network_is_the_same_in_half_precision(tmp_path):
    network = small(classes=("a", "b", "c"), words=("red", "hat")).half().float()
    network.mean.fill_(0.5)
    network.about = {"seed": 3}
    network.save(tmp_path / "net.safetensors")
    again = read(tmp_path / "net.safetensors")
    x = pictures(4, (1, 16, 16))
    assert torch.allclose(again(x), network(x), atol=1e-6)
    assert torch.equal(again.classify(network(x)), network.classify(network(x)))
    assert torch.equal(again.text(["red hat"]), network.text(["red hat"]))
    assert (again.classes, again.words, again.about) == (network.classes, network.words, network.about)
    assert again.name.startswith("net-")


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    small().save(tmp_path / "net.safetensors")
    sha256 = read(tmp_path / "net.safetensors").sha256
    assert read(tmp_path / "net.safetensors", sha256).sha256 == sha256
    content = bytearray((tmp_path / "net.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match="expected a file with sha256"):
        read(tmp_path / "net.safetensors", sha256)
    monkeypatch.setitem(module._SHA256, NAMES[0], "0" * 64)
    with pytest.raises(ArtifactError, match="expected a file with sha256 000000000000"):
        frozen(NAMES[0])


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UsageError, match="'fashion_mnist'"):
        frozen("fashion-mnist")


def spec(source, shape=(1, 28, 28), kind="continuous"):
    return DataSpec(name=source.split(":")[0] or "mnist", source=source, shape=shape, kind=kind, levels=256)


@pytest.mark.parametrize(
    ("source", "shape", "name"),
    [
        ("mnist:binary", (1, 28, 28), "mnist"),
        ("digits", (1, 8, 8), "mnist"),
        ("fashion_mnist", (1, 28, 28), "fashion_mnist"),
        ("emoji:vendor=both,size=32", (3, 32, 32), "emoji"),
        ("photos/mnist", (3, 32, 32), "general"),
        ("shapes", (3, 32, 32), "general"),
        ("", (1, 28, 28), "mnist"),
    ],
)
def test_each_set_has_its_network(source, shape, name):
    assert suited(spec(source, shape)) == name


@pytest.mark.parametrize("shape", [(2,), (1, 7, 28), (2, 28, 28)])
def test_records_that_are_no_pictures_have_none(shape):
    with pytest.raises(DataError, match="feature networks judge pictures"):
        suited(spec("points.npz", shape))


def test_without_classes_or_words_there_is_an_error():
    with pytest.raises(CapabilityError, match="no classes"):
        small().classify(torch.zeros(2, 5))
    with pytest.raises(CapabilityError, match="no captions"):
        small().text(["a hat"])


def test_words():
    assert words_of("Man’s hand: medium-light skin tone") == ["man's", "hand", "medium-light", "skin", "tone"]


def test_text_ignores_unknown_words_order_case_and_the_other_captions():
    network = small(words=("a", "hat", "red"))
    alone = network.text(["red hat"])
    assert torch.allclose(network.text(["Red, unheard-of HAT"]), alone)
    assert torch.allclose(network.text(["hat red"]), alone)
    together = network.text(["a", "red hat", "", "a red hat a red hat a red hat"])
    assert together.shape == (4, 5) and together.isfinite().all()
    assert torch.allclose(together[1:2], alone)
    assert torch.allclose(together[2:3], network.text(["nothing known"]))
    assert not torch.allclose(together[0:1], alone)
    assert network.text([]).shape == (0, 5)


@pytest.mark.slow
def test_the_general_network_sees_blur_noise_and_missing_pictures(networks):
    network, records = networks["general"], load("shapes:n=3000,seed=1").train  # scenes that it was not trained on
    x, reference = records.batch(slice(0, 900)).x, records.batch(slice(900, 1800)).x
    noise = Rng(0).normal("noise", len(x), x.shape[1:])
    blurs = [distance(network, blurred(x, sigma), reference) for sigma in (0.0, 0.5, 1.0, 2.0)]
    noises = [distance(network, (x + s * noise).clamp(-1, 1), reference) for s in (0.0, 0.1, 0.2, 0.4)]
    fewer = [distance(network, x[:k].repeat(900 // k, 1, 1, 1), reference) for k in (900, 100, 10, 1)]
    for track in (blurs, noises, fewer):
        assert all(b > a for a, b in pairwise(track)) and track[-1] > 10 * track[0], track


def test_the_mnist_network_reads_other_peoples_digits(networks):
    records = load("digits").test  # 8 x 8, of other writers; chance is 0.1
    right = networks["mnist"].classify(networks["mnist"](records.batch().x)).argmax(1) == records.labels
    assert right.float().mean() > 0.8


@needs_data
@pytest.mark.parametrize(("name", "least"), [("mnist", 0.99), ("fashion_mnist", 0.90)])
def test_the_classifier_knows_the_test_pictures(name, least, networks):
    data = load(name)
    network = networks[name]
    assert network.classes == data.spec.classes
    right = network.classify(network(data.test.batch().x)).argmax(1) == data.test.labels
    assert right.float().mean() >= least


@needs_data
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_features_have_the_scale_of_the_training_pictures(name, networks):
    features = networks[name](load(name).train.batch(slice(0, 3000)).x)
    # Of 3,000 pictures: a mean strays by 0.018 and a variance by a few percent.
    assert features.mean(0).abs().max() < 0.1
    assert (features.var(0) - 1.0).abs().max() < 0.2


@pytest.mark.slow
@needs_data
def test_the_emoji_network_finds_captions(networks):
    data = load("emoji:size=32,vendor=both")
    records, network = data.splits["test_combo"], networks["emoji"]
    pictures = torch.nn.functional.normalize(network(records.batch().x), dim=-1)
    texts = sorted(set(records.captions))
    similar = pictures @ torch.nn.functional.normalize(network.text(texts), dim=-1).T
    own = torch.tensor([texts.index(c) for c in records.captions])
    rank = (similar > similar.gather(1, own[:, None])).sum(1)
    assert (rank < 5).float().mean() > 0.5  # chance is 5 of about 100
    assert network.classes == data.spec.classes
