"""A user's .npz files."""

import numpy as np
import pytest
import torch

from morphogen.core.errors import DataError
from morphogen.data import load


@pytest.fixture
def saved(tmp_path):
    """Save arrays and return the path."""

    def save(**arrays):
        np.savez(tmp_path / "a.npz", **arrays)
        return tmp_path / "a.npz"

    return save


def bytes_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (bytes_of(40, 9, 7), (1, 9, 7)),
        (bytes_of(40, 9, 7, 3), (3, 9, 7)),
        (bytes_of(40, 3, 9, 7), (3, 9, 7)),
        (bytes_of(40, 9, 7, 1), (1, 9, 7)),
    ],
)
def test_pictures_in_any_layout(saved, images, shape):
    data = load(saved(images=images, labels=np.arange(40) % 4, class_names=np.array(list("abcd"))))
    assert data.spec.shape == shape and data.spec.levels == 256 and data.spec.classes == tuple("abcd")
    assert data.spec.splits == {"train": 34, "validation": 2, "test": 4}
    order = data.train.ids
    expected = torch.from_numpy(images)
    expected = expected[:, None] if images.ndim == 3 else expected if images.shape[1] == 3 else expected.movedim(3, 1)
    assert torch.equal(data.train.stored, expected[order])
    assert torch.equal(data.train.labels, order % 4)


@pytest.mark.parametrize("names", ["{}_images {}_labels", "{}_x {}_y", "x_{} y_{}"])
def test_splits_in_arrays_of_their_own(saved, names):
    arrays = {}
    for k, (split, n) in enumerate({"test": 4, "train": 10, "val": 3}.items()):
        images, labels = (name.format(split) for name in names.split())
        arrays |= {images: bytes_of(n, 8, 8, seed=k), labels: np.full((n, 1), k)}
    data = load(saved(**arrays))
    assert data.spec.splits == {"train": 10, "validation": 3, "test": 4}
    assert [set(r.labels.tolist()) for r in data.splits.values()] == [{1}, {2}, {0}]
    ids = torch.cat([r.ids for r in data.splits.values()])
    assert torch.equal(ids, torch.arange(17))


def test_split_and_caption_arrays(saved):
    split = np.array(["train"] * 6 + ["val"] * 2 + ["odd"] * 2)
    data = load(saved(images=bytes_of(10, 8, 8), split=split, captions=np.array([f"a {i}" for i in range(10)])))
    assert data.spec.splits == {"train": 6, "validation": 2, "odd": 2}
    assert data.split("odd").captions == ["a 8", "a 9"]
    with pytest.raises(DataError, match="Did you mean 'odd'"):
        data.split("od")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_real_numbers_are_scaled_to_the_range_of_the_training_records(saved, dtype):
    points = np.random.default_rng(1).normal(7.3, 3.1, (300, 2)).astype(dtype)
    data = load(saved(x=points))
    assert data.spec.shape == (2,) and data.spec.levels is None and data.spec.kind == "continuous"
    x = data.train.batch().x
    assert x.min() == -1.0 or x.max() == 1.0
    assert x.abs().max() == 1.0
    assert torch.equal(data.train.stored, torch.from_numpy(points.astype(np.float32))[data.train.ids])
    assert (data.spec.decode(x) - data.train.stored).abs().max() < 1e-5


def test_constant_numbers_do_not_divide_by_zero(saved):
    path = saved(x=np.full((30, 2), 4.25))
    with pytest.raises(DataError, match="leaves nothing to train on"):  # all are equal, so all stay together
        load(path)
    data = load(f"{path}:test=0,validation=0")
    assert torch.isfinite(data.train.batch().x).all() and (data.train.batch().x == 0).all()
    column = np.stack((np.linspace(0, 1, 30), np.full(30, 2.0)), axis=1)
    assert torch.isfinite(load(saved(x=column)).train.batch().x).all()


def test_booleans_are_binary_and_vectors_of_bytes_keep_their_levels(saved):
    assert load(saved(x=bytes_of(20, 5) > 99)).spec.kind == "binary"
    assert load(saved(images=bytes_of(20, 5, 5) > 99)).spec.shape == (1, 5, 5)
    spec = load(saved(x=bytes_of(20, 5))).spec
    assert (spec.shape, spec.kind, spec.levels) == ((5,), "continuous", 256)


def test_labels_by_name_and_unknown_ones(saved):
    data = load(saved(x=np.random.default_rng(0).normal(size=(4, 2)), y=np.array(["b", "a", "b", "c"])))
    assert data.spec.classes == ("a", "b", "c") and data.train.labels.tolist() == [1, 0, 1, 2]
    data = load(saved(x=np.random.default_rng(0).normal(size=(4, 2)), labels=np.array([-1, 0, 1, 1])))
    assert data.train.labels.tolist() == [-1, 0, 1, 1]


def test_rows_that_are_no_numbers_are_listed_by_name(saved):
    values = np.random.default_rng(0).normal(size=(20, 3))
    values[4, 1], values[11, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"x\[4\]: holds NaN or infinite") as raised:
        load(saved(x=values))
    assert "x[11]" in str(raised.value)
    data = load(saved(x=values), strict=False)
    assert sum(data.spec.splits.values()) == 18
    assert sorted(torch.cat([r.ids for r in data.splits.values()]).tolist()) == [
        i for i in range(20) if i not in (4, 11)
    ]
    assert [p.record for p in data.problems] == ["x[4]", "x[11]"]
    path = saved(train_x=values[:10], test_x=values[10:])
    assert [p.record for p in load(path, strict=False).problems] == ["train_x[4]", "test_x[1]"]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"foo": np.zeros(3)}, r"expected an array `images` or `x`.*found foo \(3,\)"),
        ({}, "found none"),
        ({"x": np.zeros((4, 2)), "train_x": np.zeros((4, 2))}, "expected an array"),
        ({"x": np.zeros((4, 2)), "images": np.zeros((4, 2))}, "mean the same"),
        ({"x": np.zeros((4, 2)), "label": np.zeros(4)}, "did you mean 'labels'"),
        ({"x": np.zeros((4, 2)), "labels": np.zeros(3, int)}, "labels has 3 entries for 4 records"),
        ({"x": np.zeros((4, 2)), "labels": np.full(4, 0.5)}, r"labels\[0\] = 0.5"),
        ({"x": np.zeros((4, 2)), "labels": np.full(4, 3), "class_names": np.array(["a"])}, "expected 0 to 0"),
        ({"x": np.zeros((4, 2)), "labels": np.array(["b"] * 4), "class_names": np.array(["a"])}, "label 'b'"),
        ({"images": np.full((4, 8, 8), 300)}, "integers from 300 to 300, expected 0 to 255"),
        ({"images": np.full((4, 8, 8), -1)}, "integers from -1"),
        ({"x": np.array(["a", "b"])}, "expected numbers"),
        ({"x": np.zeros((0, 2))}, "no record could be read"),
        ({"train_x": np.zeros((4, 2)), "test_x": np.zeros((4, 3))}, "one shape in every split"),
        ({"train_x": np.zeros((4, 2)), "test_x": np.zeros((4, 2)), "test_y": np.zeros(4, int)}, "but not for train"),
        ({"x": np.float32(3)}, "one shape in every split"),
        ({"x": np.array([{}, {}], dtype=object)}, "could run code"),
    ],
)
def test_bad_files_are_explained(saved, arrays, words):
    with pytest.raises(DataError, match=words):
        load(saved(**arrays))


def test_broken_files_are_explained(tmp_path, saved):
    path = saved(images=bytes_of(40, 9, 7))
    whole = path.read_bytes()
    for broken in (b"", b"junk", whole[: len(whole) // 2], whole[:200] + bytes(400) + whole[600:]):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"a\.npz"):
            load(path)


def test_options_for_pictures_are_refused_for_other_arrays(saved):
    path = saved(x=np.random.default_rng(0).normal(size=(10, 2)))
    with pytest.raises(DataError, match="pictures of bytes"):
        load(f"{path}:size=8")
    with pytest.raises(DataError, match="binarized"):
        load(f"{path}:binary")


def test_models_of_earlier_versions_know_real_valued_gray_pictures_without_a_channel(saved):
    path = saved(images=np.random.default_rng(0).random((30, 6, 5)))
    spec = load(path).spec
    assert spec.shape == (1, 6, 5)
    older = spec.replace(shape=(6, 5))
    assert load(path, like=older).train.stored.shape[1:] == (6, 5)
    assert load(path, like=spec).train.stored.shape[1:] == (1, 6, 5)
