"""The embedded and the named sets: splits, ids, binarization."""

import os

import numpy as np
import pytest
import torch

from morphogen.core.errors import DataError
from morphogen.data import Stream, inspect, load

needs_data = pytest.mark.skipif(not os.environ.get("MORPHOGEN_DATA"), reason="MORPHOGEN_DATA is not set")


def disjoint(data):
    ids = torch.cat([r.ids for r in data.splits.values()])
    return len(ids.unique()) == len(ids)


def test_digits():
    data = load("digits")
    assert data.spec.shape == (1, 8, 8) and data.spec.levels == 17 and len(data.spec.classes) == 10
    assert data.test.ids.tolist() == list(range(5, 1797, 6))
    assert disjoint(data) and sum(data.spec.splits.values()) == 1797
    x = data.train.batch().x
    assert (x.min(), x.max()) == (-1.0, 1.0)
    assert torch.equal(data.spec.decode(x), data.train.stored)
    assert data.spec.license.startswith("CC BY 4.0")


def test_validation_is_an_option():
    assert load("digits:validation=0").spec.splits == {"train": 1498, "test": 299}
    assert load("digits:validation=0.5").spec.splits == {"train": 749, "validation": 749, "test": 299}
    with pytest.raises(DataError, match="leaves nothing to train on"):
        load("digits:validation=1498")


def test_stochastic_binarization_is_fixed_and_has_the_right_mean():
    plain, binary = load("digits:validation=0"), load("digits:binary,validation=0")
    assert binary.spec.kind == "binary" and binary.train.stored.unique().tolist() == [0, 1]
    again = load("digits:binary")  # another split of the same records
    both = {int(i): p for r in again.splits.values() for i, p in zip(r.ids, r.stored, strict=True)}
    assert all(torch.equal(both[int(i)], p) for i, p in zip(binary.train.ids, binary.train.stored, strict=True))
    u, b = plain.train.stored.double() / 16, binary.train.stored.double()
    assert (b[u == 0] == 0).all() and (b[u == 1] == 1).all()
    deviation = (u * (1 - u)).sum().sqrt()
    assert (b - u).sum().abs() < 4 * deviation
    for level in range(1, 16):  # at each level, by itself
        at = u == level / 16
        assert abs(b[at].mean() - level / 16) < 4 * (level / 16 * (1 - level / 16) / at.sum()) ** 0.5
    x = binary.train.batch().x
    assert x.unique().tolist() == [0.0, 1.0]


def test_threshold():
    plain, binary = load("digits"), load("digits:binary=0.5")
    assert torch.equal(binary.train.stored, (plain.train.stored > 8).to(torch.uint8))


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """A folder that looks like the real one."""
    rng = np.random.default_rng(0)
    (tmp_path / "mnist").mkdir()
    for name, n, index in (("train", 400, np.arange(400)), ("test", 50, 2 * np.arange(50))):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        names = np.array([str(k) for k in range(10)])
        labels = (np.arange(n) % 10).astype(np.uint8)
        np.savez(
            tmp_path / "mnist" / f"{name}.npz",
            images=images,
            labels=labels,
            index=index.astype("i4"),
            class_names=names,
        )
    monkeypatch.setenv("MORPHOGEN_DATA", str(tmp_path))
    return tmp_path


def test_named_sets_keep_their_test_pictures_apart(small_mnist):
    data = load("mnist")
    assert data.spec.splits == {"train": 360, "validation": 40, "test": 50}
    assert data.test.ids.tolist() == [400 + 2 * i for i in range(50)]
    assert torch.cat((data.train.ids, data.validation.ids)).sort().values.tolist() == list(range(400))
    assert torch.equal(data.train.labels, data.train.ids % 10)
    assert load("mnist:size=14").spec.shape == (1, 14, 14)
    np.savez(small_mnist / "mnist" / "test.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match=r"test\.npz lacks the array 'images'; it holds pictures"):
        load("mnist")
    with pytest.raises(DataError, match=r"'kodak' is not in the folder .* it has mnist"):
        load("kodak")


def test_a_set_without_training_split_cannot_be_streamed(tmp_path):
    np.savez(tmp_path / "a.npz", test_x=np.random.default_rng(0).normal(size=(5, 2)))
    data = load(tmp_path / "a.npz")
    assert data.validation is None and len(data.test) == 5
    with pytest.raises(DataError, match="no split 'train'; it has test"):
        Stream(data.train, 2, seed=0)


@needs_data
@pytest.mark.parametrize(
    ("source", "shape", "splits"),
    [
        ("mnist", (1, 28, 28), {"train": 58800, "validation": 1200, "test": 5000}),
        ("fashion_mnist", (1, 28, 28), {"train": 58800, "validation": 1200, "test": 5000}),
        ("pneumonia_mnist", (1, 28, 28), {"train": 4708, "validation": 524, "test": 312}),
        ("bccd", (3, 32, 32), {"train": 2804, "validation": 1137, "test": 385}),
        ("bccd:what=pictures,size=48x64", (3, 48, 64), {"train": 205, "validation": 87, "test": 31}),
        ("kodak", (3, 512, 768), {"test": 24}),
        ("ucmerced:size=32", (3, 32, 32), {"train": 1616, "validation": 64, "test": 201}),
        ("deeppcb", (1, 64, 64), {"train": 11760, "validation": 240, "test": 2824}),
    ],
)
def test_the_real_sets(source, shape, splits):
    data = load(source)
    assert data.spec.shape == shape and data.spec.splits == splits and data.spec.license
    assert disjoint(data) and not data.problems


@needs_data
def test_mnist_is_mnist():
    data = load("mnist")
    pixels = torch.cat((data.train.stored, data.validation.stored)).double() / 255
    assert abs(float(pixels.mean()) - 0.1307) < 5e-5 and abs(float(pixels.std()) - 0.3081) < 5e-5
    first = {int(i): int(k) for r in data.splits.values() for i, k in zip(r.ids, r.labels, strict=True) if i < 10}
    assert [first[i] for i in range(10)] == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


@needs_data
def test_emoji():
    data = load("emoji:vendor=both,size=16,background=#102030")
    assert set(data.splits) == {"train", "validation", "test_concept", "test_combo"} and disjoint(data)
    assert [a.name for a in data.spec.attributes] == ["tone", "gender"]
    records = data.train
    row = records.names.index("noto/1F44B-1F3FD")
    assert records.captions[row] == "waving hand: medium skin tone"
    batch = records.batch(slice(row, row + 1))
    assert data.spec.attributes[0].values[int(batch.cond.attributes[0, 0])] == "medium"
    assert batch.cond.present.tolist() == [[True, False]]
    assert data.spec.classes[int(batch.cond.label)] == "people-body"
    single = load("emoji:vendor=openmoji,size=16")
    ids = dict(zip(records.names, records.ids.tolist(), strict=True))
    assert all(ids.get(n, i) == i for n, i in zip(single.train.names, single.train.ids.tolist(), strict=True))


@needs_data
def test_inspection_finds_the_published_duplicates():
    found = inspect("pneumonia_mnist")
    within = [g for g in found.duplicates if sum(m.startswith("train/") for m in g) == 2]
    train = found.dataset.train
    classes = dict(zip(train.ids.tolist(), train.labels.tolist(), strict=True))
    sick = [g for g in within if classes[int(g[0].split()[-1])] == 1]
    assert len(sick) == 17  # its README: the published set repeats 17 pictures of pneumonia in training
