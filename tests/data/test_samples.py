"""Records to be judged: none is set aside, batches are no classes, the range of numbers is found and said."""

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.data.samples import load_samples

DIGITS = DataSpec(name="digits", shape=(1, 8, 8), kind="continuous", levels=17, classes=("0", "1"))
DIGITS = DIGITS.replace(preprocessing={"size": "8x8", "channels": "gray", "resize": "error"})
BYTES = DIGITS.replace(name="bytes", levels=256)
REAL = DIGITS.replace(name="real", levels=None, shift=0.5, scale=0.5)


def shades(n=20, *shape, low=0.0, high=1.0):
    values = low + (high - low) * np.random.default_rng(0).random((n, *(shape or (8, 8))))
    values.flat[0], values.flat[-1] = low, high
    return values


def write(folder, names, size=(8, 8)):
    for i, name in enumerate(names):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, size, dtype=np.uint8)
        Image.fromarray(pixels).save(path)


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return tmp_path / "a.npz"


def test_equal_pictures_are_all_there(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    for i in range(30):
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    found = load_samples(tmp_path, DIGITS)
    assert torch.equal(found.stored, torch.from_numpy(pixels).expand(30, 1, 8, 8)) and found.spec.levels == 256


def test_folders_are_classes_only_by_the_names_of_the_data(tmp_path):
    write(tmp_path / "a", ["1/x", "1/y", "0/x"])
    found = load_samples(tmp_path / "a", DIGITS)
    assert found.labels.tolist() == [0, 1, 1] and not found.notes
    write(tmp_path / "b", ["batch1/x", "batch1/y", "batch2/x"])
    found = load_samples(tmp_path / "b", DIGITS)
    assert found.labels is None and len(found.stored) == 3
    assert found.notes == ("no class is read: digits has none called batch1, batch2",)


@pytest.mark.parametrize("name", ["arr_0", "samples", "images", "x"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.2, 0.9), (-0.3, 0.4)])
def test_real_numbers_become_bytes_by_their_range(tmp_path, name, dtype, low, high):
    values = shades(low=low, high=high).astype(dtype)
    found = load_samples(saved(tmp_path, **{name: values}), BYTES)
    black, white = (-1.0, 1.0) if low < 0 else (0.0, 255.0 if high > 1 else 1.0)
    expected = np.rint((values.astype(np.float32).astype(np.float64) - black) * (255.0 / (white - black)))
    assert found.stored.dtype == torch.uint8 and found.spec.levels == 256
    assert np.array_equal(found.stored.numpy()[:, 0], expected)
    assert f"from {black:g} (black) to {white:g} (white)" in found.notes[-1]
    assert (f"the array {name} is taken for the records" in found.notes) == (name in ("arr_0", "samples"))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.2), (-1.5, 1.0), (-1.0, 255.0), (0.0, 65535.0)])
def test_real_numbers_of_no_known_range_are_refused(tmp_path, low, high):
    with pytest.raises(DataError, match="expected shades in 0 to 1, -1 to 1 or 0 to 255"):
        load_samples(saved(tmp_path, x=shades(low=low, high=high)), BYTES)


def test_rounding_at_the_ends_of_a_range_is_no_other_range(tmp_path):
    found = load_samples(saved(tmp_path, x=shades(low=-1e-6, high=1 + 1e-6)), BYTES)
    assert "from 0 (black) to 1 (white)" in found.notes[0] and found.stored.max() == 255


def test_arrays_in_the_units_of_the_data_keep_them(tmp_path):
    levels = np.random.default_rng(0).integers(0, 17, (20, 8, 8)).astype(np.uint8)
    found = load_samples(saved(tmp_path, x=levels), DIGITS)
    assert found.spec.levels == 17 and np.array_equal(found.stored[:, 0], levels)
    values = shades().astype(np.float32)
    found = load_samples(saved(tmp_path, x=values), REAL)
    assert found.spec.levels is None and np.array_equal(found.stored[:, 0], values)
    found = load_samples(saved(tmp_path, x=values * 2 - 1), REAL)  # not the units of these data
    assert found.spec.levels == 256 and "from -1 (black)" in found.notes[0]
    write(tmp_path / "black", ["a", "b"])
    for name in "ab":
        Image.fromarray(np.full((8, 8), 5, np.uint8)).save(tmp_path / "black" / f"{name}.png")
    assert load_samples(tmp_path / "black", DIGITS).spec.levels == 256  # dark files are no levels


def test_mixed_sizes_are_an_error_that_names_the_files(tmp_path):
    write(tmp_path, [f"a{i}" for i in range(20)])
    write(tmp_path, [f"large{i}" for i in range(15)], size=(16, 16))
    with pytest.raises(DataError, match=r"large0\.png: is 16x16, most are 8x8") as raised:
        load_samples(tmp_path, BYTES)
    assert "and 5 more" in str(raised.value)
    assert len(load_samples(f"{tmp_path}:size=8", BYTES).stored) == 35  # asked for


def test_another_size_is_brought_to_that_of_the_data_and_said(tmp_path):
    write(tmp_path / "large", ["a", "b"], size=(16, 16))
    found = load_samples(tmp_path / "large", BYTES)
    assert found.stored.shape == (2, 1, 8, 8) and "are 16x16 and are brought to 8x8" in found.notes[0]
    write(tmp_path / "wide", ["a", "b"], size=(8, 16))
    with pytest.raises(DataError, match="does not fit 8x8"):
        load_samples(tmp_path / "wide", BYTES)


def test_records_that_are_no_pictures_are_of_the_same_kind(tmp_path):
    table = DataSpec(name="table", shape=(3,), kind="continuous")
    found = load_samples(saved(tmp_path, x=shades(20, 3)), table)
    assert found.spec.shape == (3,) and len(found.stored) == 20
    with pytest.raises(DataError, match="256 levels, but those of table real numbers"):
        load_samples(saved(tmp_path, x=np.zeros((20, 3), np.uint8)), table)
    with pytest.raises(DataError, match="expected pictures, got records of shape"):
        load_samples(saved(tmp_path, x=shades(20, 3)), BYTES)
    with pytest.raises(DataError, match="holds NaN"):
        load_samples(saved(tmp_path, x=np.full((20, 3), np.nan)), table)
