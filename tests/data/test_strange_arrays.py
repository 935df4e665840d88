"""Strange .npz files: each is read rightly or refused in words, and nothing is taken that a file only claims."""

import os
import tracemalloc

import numpy as np
import pytest
import torch

from morphogen.core import memory
from morphogen.core.errors import DataError, MorphogenError
from morphogen.data import array_file, inspect, load
from tests.data import strange_arrays

PLAIN = "test=0,validation=0"


@pytest.mark.parametrize("name", strange_arrays.names())
def test_each_kind_is_read_or_refused(tmp_path, name):
    strange = strange_arrays.write(tmp_path, name)
    tracemalloc.start()
    try:
        if strange.words is None:
            data = load(f"{strange.path}:{PLAIN}")
        else:
            with pytest.raises(DataError, match=strange.words) as raised:
                load(strange.path)
            assert strange.path.name in str(raised.value) and len(str(raised.value)) < 600
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    if strange.words is None:
        records = torch.cat([r.stored for r in data.splits.values()])
        ids = torch.cat([r.ids for r in data.splits.values()])
        assert np.array_equal(records[ids.argsort()][:, 0], strange_arrays.pictures(8, 8))


def read(tmp_path, name):
    return load(f"{strange_arrays.write(tmp_path, name).path}:{PLAIN}")


def test_bytes_are_utf_8(tmp_path):
    assert read(tmp_path, "captions-as-bytes").train.captions[:2] == ["a red café 0", "a red café 1"]
    assert read(tmp_path, "labels-as-bytes").spec.classes == ("bar", "café")
    assert read(tmp_path, "names-as-bytes").spec.classes == ("a", "b", "c")
    assert read(tmp_path, "split-as-bytes").spec.splits == {"train": 15, "test": 15}


def test_numbers_that_are_no_positions_are_the_names_of_classes(tmp_path):
    years = read(tmp_path, "labels-with-gaps")
    assert years.spec.classes == ("1950", "2024") and years.train.labels.tolist() == [0, 1] * 15
    for name in ("labels-in-a-column", "labels-as-floats"):
        data = read(tmp_path, name)
        assert data.spec.classes == ("0", "1", "2") and data.train.labels.tolist() == [0, 1, 2] * 10
    named = read(tmp_path, "names-as-numbers")
    assert named.spec.classes == ("10", "20", "30") and named.train.labels.tolist() == [0, 1, 2] * 10
    path = tmp_path / "some.npz"
    np.savez(path, x=strange_arrays.pictures(4), labels=np.array([7, -1, 9] * 10))
    assert load(f"{path}:{PLAIN}").train.labels.tolist() == [0, -1, 1] * 10


def test_classes_without_records_and_records_without_a_class_are_said(tmp_path):
    path, x = tmp_path / "a.npz", strange_arrays.pictures(4)
    np.savez(path, x=x, labels=np.arange(30) % 2, class_names=np.array(list("abcdefgh")))
    assert inspect(path).notes == ("6 of 8 classes have no record: c, d, e, f, g and 1 more",)
    np.savez(path, x=x, labels=np.array(["a", "", "b"] * 10))
    assert inspect(path).notes == ("the class of 10 of 30 records is not known",)
    np.savez(path, x=x, labels=np.arange(30) % 2)
    assert inspect(path).notes == ()


def test_a_set_without_a_usable_record_says_why(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.full((30, 4), np.nan))
    with pytest.raises(DataError, match=r"(?s)no record could be read\.\n  x\[0\]: holds NaN.*and 20 more$"):
        inspect(tmp_path / "a.npz")


def test_arrays_without_a_meaning_are_listed(tmp_path):
    found = inspect(strange_arrays.write(tmp_path, "objects-of-no-meaning").path)
    assert found.notes == ("objects-of-no-meaning.npz holds arrays that are not used: seed, rows",)
    assert found.to_dict()["notes"] == list(found.notes)
    taken = inspect(strange_arrays.write(tmp_path, "arr_0").path)
    assert taken.notes == ("the array arr_0 is taken for the records",)
    many = {f"a{i}": np.zeros(1) for i in range(40)}
    np.savez(tmp_path / "many.npz", x=strange_arrays.pictures(4), **many)
    (note,) = inspect(tmp_path / "many.npz").notes
    assert "and 20 more" in note


def test_what_does_not_fit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = strange_arrays.write(tmp_path, "plain").path
    monkeypatch.setattr(array_file, "available_bytes", lambda: 2000)
    with pytest.raises(DataError, match=r"does not fit into memory: x \(30, 8, 8\) need"):
        load(path)
    assert memory.available_bytes() > 1 << 20
    assert [memory.in_words(n) for n in (0, 2048, 10**12)] == ["0 bytes", "2 KiB", "931 GiB"]


def test_pipes_and_folders_are_no_arrays(tmp_path):
    pipe = tmp_path / "pipe.npz"
    os.mkfifo(pipe)
    with pytest.raises(MorphogenError, match=r"pipe\.npz"):
        load(pipe)
    with pytest.raises(DataError, match="no regular file"), array_file.ArrayFile(pipe):
        pass


def test_random_damage_never_gives_anything_but_records_or_an_error_in_words(tmp_path):
    path = tmp_path / "a.npz"
    read = 0
    for seed in range(300):
        strange_arrays.write_random(path, seed)
        try:
            read += len(load(f"{path}:{PLAIN}", strict=False).splits) > 0
        except DataError as error:
            assert "\x1b" not in str(error)
    assert 0 < read < 300


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((30, 4, 4, 3), (3, 4, 4)),
        ((30, 3, 4, 4), (3, 4, 4)),
        ((30, 1, 1, 3), (3, 1, 1)),
        ((30, 3, 3, 1), (1, 3, 3)),
    ],
)
def test_the_order_that_gives_square_pictures_is_meant(tmp_path, shape, expected):
    np.savez(tmp_path / "a.npz", x=strange_arrays.pictures(*shape[1:]))
    assert load(f"{tmp_path}/a.npz:{PLAIN}").spec.shape == expected
