"""`inspect`: counts, classes, duplicates, problems."""

import json

import numpy as np
import pytest
import torch

from morphogen.core.errors import DataError
from morphogen.data import inspect, load
from morphogen.report.sheets import to_bytes


@pytest.fixture
def planted(tmp_path):
    """30 pictures with a duplicate pair within training, and one across the splits."""
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 6), dtype=np.uint8)
    images[7] = images[3]
    images[25] = images[4]
    split = np.array(["train"] * 20 + ["test"] * 10)
    labels = np.array([0, 1] * 10 + [-1] * 10)
    np.savez(tmp_path / "a.npz", images=images, split=split, labels=labels, class_names=np.array(["x", "y"]))
    return f"{tmp_path}/a.npz:validation=0"


def test_what_is_planted_is_found(planted):
    found = inspect(planted)
    assert found.counts == {"train": 20, "test": 10}
    assert found.balance == {"train": {"x": 10, "y": 10}, "test": {"x": 0, "y": 0, "?": 10}}
    assert set(found.duplicates) == {("train/record 3", "train/record 7"), ("train/record 4", "test/record 25")}
    assert found.duplicates_across_splits == (("train/record 4", "test/record 25"),)
    assert (found.low, found.high) == (0.0, 255.0)
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_records_that_are_all_equal_are_described_and_not_trained_on(tmp_path, dtype):
    np.savez(tmp_path / "a.npz", x=np.zeros((50, 6, 6), dtype))
    found = inspect(tmp_path / "a.npz")
    assert found.counts == {"train": 50} and len(found.duplicates[0]) == 50
    assert any("nothing is set aside" in note for note in found.notes)
    with pytest.raises(DataError, match=r"50 records \(equal ones stay together\) leaves nothing to train on"):
        load(tmp_path / "a.npz")


def test_bad_records_are_listed_instead_of_raised(tmp_path):
    values = np.random.default_rng(0).normal(size=(20, 2))
    values[3] = np.nan
    np.savez(tmp_path / "a.npz", x=values)
    found = inspect(tmp_path / "a.npz")
    assert [p.record for p in found.problems] == ["x[3]"]
    assert found.to_dict()["problems"] == [{"record": "x[3]", "what": "holds NaN or infinite values"}]
    with pytest.raises(DataError, match="no pictures"):
        found.examples(4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
@pytest.mark.parametrize("shape", [(40, 3, 8, 8), (40, 8, 8, 3), (40, 8, 8)])
def test_real_valued_pictures_are_drawn_as_samples_are(tmp_path, dtype, low, high, shape):
    values = (low + (high - low) * np.random.default_rng(0).random(shape)).astype(dtype)
    values.flat[0], values.flat[-1] = low, high
    values[5, 0] = np.nan
    np.savez(tmp_path / "a.npz", images=values)
    found = inspect(f"{tmp_path}/a.npz:test=0,validation=0")
    assert found.spec.shape == ((1, 8, 8) if len(shape) == 3 else (3, 8, 8)) and found.spec.is_picture
    assert [p.record for p in found.problems] == ["images[5]"]
    train = found.dataset.train
    drawn = found.examples(100)
    assert drawn.dtype == torch.uint8 and np.array_equal(drawn.numpy(), to_bytes(train.stored.numpy(), found.spec))
    assert (drawn.min(), drawn.max()) == (0, 255)
    assert (train.ids[0], train.ids[-1]) == (0, 39)  # the smallest and the largest value, each at its place
    assert drawn[0].flatten()[0] == 0 and drawn[-1].flatten()[-1] == 255


def test_digits_have_no_duplicates_and_examples_use_all_of_a_byte():
    found = inspect(load("digits"))
    assert found.duplicates == ()
    assert found.counts == {"train": 1398, "validation": 100, "test": 299}
    pictures = found.examples(25)
    assert pictures.shape == (25, 1, 8, 8) and pictures.dtype == torch.uint8 and pictures.max() == 255
    assert inspect("digits:binary").examples(3).unique().tolist() == [0, 255]
    assert len(found.examples(10_000)) == 1398
