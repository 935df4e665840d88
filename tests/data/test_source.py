"""The grammar of sources, their options, and `like`."""

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen.core.errors import DataError, SpecError, UsageError
from morphogen.data import load, sources
from morphogen.data.options import OwnSplits
from morphogen.data.source import Source, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digits", Source("digits")),
        ("digits:binary", Source("digits", {"binary": True})),
        (" digits:binary=0.5, size = 16 ", Source("digits", {"binary": "0.5", "size": "16"})),
        ("nowhere/:size=3", Source("nowhere/")),
    ],
)
def test_grammar(text, expected):
    assert parse(text, {"digits"}) == expected


def test_a_path_with_colons_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b=c").mkdir()
    assert parse("a:b=c", set()) == Source("a:b=c")
    assert parse("a:b=c:size=4", set()) == Source("a:b=c", {"size": "4"})
    assert parse(f"{tmp_path}/a:b=c:size=4", set()) == Source(f"{tmp_path}/a:b=c", {"size": "4"})


@pytest.mark.parametrize("text", ["", "  ", "digits:", "digits:=3", "digits:size=", "digits:a,,b", "digits:a,a"])
def test_malformed_sources_are_wrong_usage(text):
    with pytest.raises(UsageError):
        parse(text, {"digits"})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("digit", "did you mean 'digits'"),
        ("digits:sise=16", "did you mean 'size'"),
        ("digits:size=big", "size=HEIGHTxWIDTH"),
        ("digits:size=0", "from 1 to 4096"),
        ("digits:binary=1.5", "between 0 and 1"),
        ("digits:background=reddish", "#rrggbb"),
        ("digits:resize=squeeze", "'stretch'"),
        ("shapes:n=-1", "greater than or equal to 1"),
    ],
)
def test_wrong_names_and_values_are_named(source, words):
    with pytest.raises(UsageError, match=words):
        load(source)


def test_missing_things(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no folder or file"):
        load(tmp_path / "nothing")
    (tmp_path / "table.feather").write_bytes(b"")
    with pytest.raises(UsageError, match="neither a folder"):
        load(tmp_path / "table.feather")
    monkeypatch.delenv("MORPHOGEN_DATA", raising=False)
    with pytest.raises(DataError, match="set the environment variable MORPHOGEN_DATA"):
        load("mnist")
    monkeypatch.setenv("MORPHOGEN_DATA", str(tmp_path))
    with pytest.raises(DataError, match="not in the folder"):
        load("mnist")
    (tmp_path / "mnist").mkdir()
    with pytest.raises(DataError, match=r"train\.npz is not in the folder"):
        load("mnist")


def test_sources_lists_embedded_and_named_sets():
    assert {"digits", "shapes", "mnist", "emoji", "kodak"} <= sources().keys()


def test_the_canonical_source_loads_the_same():
    first = load("digits:size=12x10,resize=pad,background=black,binary=0.4,validation=50")
    again = load(first.spec.source)
    assert again.spec == first.spec
    assert OwnSplits.parse({"size": "8", "skip_bad": True}).canonical("a") == "a:size=8,skip_bad"
    assert load("digits:size=8").spec.source == "digits:size=8"
    assert load("digits").spec.source == "digits"


def test_like_repeats_the_preparation():
    trained = load("digits:binary,size=12,channels=rgb,validation=60")
    again = load("digits", like=trained.spec)
    assert again.spec == trained.spec.replace(source=again.spec.source)
    assert load(again.spec.source).spec.fingerprint == trained.spec.fingerprint
    with pytest.raises(SpecError, match=r"binary=0\.5 contradicts binary=stochastic"):
        load("digits:binary=0.5", like=trained.spec)
    load("digits:binary,size=12", like=trained.spec)  # saying the same again is no contradiction
    load("digits:resize=crop", like=trained.spec)  # "error" was no choice, only the lack of one


def test_like_prepares_other_data_alike(tmp_path):
    trained = load("digits")
    rng = np.random.default_rng(0)
    names = np.array(["7", "3", "3", "0"])
    np.savez(tmp_path / "a.npz", images=rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8), labels=names)
    with pytest.raises(DataError, match="levels"):  # bytes are not what this model was made for
        load(tmp_path / "a.npz", like=trained.spec)
    model = load("shapes:n=50,channels=gray").spec.replace(classes=tuple("0123456789"))
    found = load(f"{tmp_path}/a.npz:test=0,validation=0", like=model)
    assert found.spec.shape == (1, 32, 32)
    assert found.spec.classes == model.classes
    assert found.train.labels is not None and found.train.labels.tolist() == [7, 3, 3, 0]
    np.savez(tmp_path / "b.npz", images=rng.integers(0, 256, (1, 16, 16), dtype=np.uint8), labels=np.array(["cat"]))
    with pytest.raises(DataError, match="unknown class 'cat'"):
        load(tmp_path / "b.npz", like=model)


def test_like_repeats_the_splits_of_the_same_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for i in range(30):
        pixels = np.random.default_rng(i).integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    trained = load("photos:size=8,resize=crop,test=0.5,skip_bad")
    again = load("photos/", like=trained.spec)
    assert again.spec.fingerprint == trained.spec.fingerprint
    assert again.spec.splits["test"] == 15


def test_like_keeps_the_scale_of_real_numbers(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=rng.normal(5, 2, (100, 2)))
    np.savez(tmp_path / "b.npz", x=rng.normal(50, 20, (100, 2)))
    trained = load(tmp_path / "a.npz")
    other = load(tmp_path / "b.npz", like=trained.spec)
    assert (other.spec.shift, other.spec.scale) == (trained.spec.shift, trained.spec.scale)
    assert torch.equal(other.train.batch().x, trained.spec.encode(other.train.stored))


def test_the_license_of_own_records_is_stated(tmp_path):
    for i in range(12):
        Image.new("L", (8, 8), i * 20).save(tmp_path / f"{i}.png")
    assert load(f"{tmp_path}:license=CC BY 4.0").spec.license == "CC BY 4.0"
    assert load(str(tmp_path)).spec.license == ""
    assert "CC BY" in load("digits").spec.license and load("digits:license=mine").spec.license == "mine"
