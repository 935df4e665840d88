"""Pictures in pieces are those that `load` gives, and only a piece of them is in memory."""

import numpy as np
import pytest
from PIL import Image

import morphogen as mg
from morphogen.applications.compression import records
from morphogen.core.errors import DataError
from morphogen.data.load import load
from morphogen.data.picture_files import collecting
from morphogen.data.pieces import in_pieces


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(23):
        folder = tmp_path / "photos" / ("birds", "boats")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        gray = i < 9
        pixels = rng.integers(0, 256, (8, 9) if gray else (8, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return tmp_path / "photos"


def together(found):
    pieces = list(found.pieces)
    names = [name for _, named in pieces for name in named or ()]
    return np.concatenate([x for x, _ in pieces]), names, [len(x) for x, _ in pieces]


def loaded(source, like=None):
    dataset = load(source, like=like)
    ids = np.concatenate([r.ids.numpy() for r in dataset.splits.values()])
    x = np.concatenate([r.stored.numpy() for r in dataset.splits.values()])
    names = [name for r in dataset.splits.values() for name in r.names or ()]
    order = ids.argsort()
    return x[order], [names[i] for i in order] if names else []


@pytest.mark.parametrize("options", ["", ":size=6,resize=crop", ":channels=gray", ":size=8x9,channels=rgba"])
def test_a_folder_in_pieces_is_the_folder(photos, options):
    x, names, sizes = together(in_pieces(f"{photos}{options}", None, 5))
    expected, named = loaded(f"{photos}{options}")
    assert np.array_equal(x, expected) and names == named and sizes == [5, 5, 5, 5, 3]


def test_pictures_are_prepared_as_the_models_were(photos):
    like = load(f"{photos}:size=6,resize=stretch,channels=gray").spec
    x, _, _ = together(in_pieces(photos, like, 7))
    assert np.array_equal(x, loaded(photos, like)[0]) and x.shape[1:] == (1, 6, 6)


@pytest.mark.parametrize("packed", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(17, 6, 5), (17, 6, 5, 3), (17, 3, 6, 5)])
def test_a_file_in_pieces_is_the_file(tmp_path, packed, shape):
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    packed(
        tmp_path / "a.npz",
        train_images=x[:11],
        test_images=x[11:],
        train_labels=np.arange(11) % 2,
        test_labels=np.arange(6) % 2,
    )
    found, _, sizes = together(in_pieces(tmp_path / "a.npz", None, 4))
    assert np.array_equal(found, loaded(tmp_path / "a.npz")[0]) and sizes == [4, 4, 3, 4, 2]


def test_what_has_to_be_read_as_a_whole_is_none(tmp_path, photos):
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 4), np.float32))
    for source in (
        "digits",
        tmp_path / "a.npz",
        f"{photos}:binary",
        f"{photos}:skip_bad",
        np.zeros((3, 4, 4), np.uint8),
    ):
        assert in_pieces(source, None, 4) is None
    assert in_pieces(photos, load("digits").spec, 4) is None


def test_a_bad_picture_and_another_shape_are_told(photos):
    like = load(f"{photos}:size=6,resize=crop").spec
    (photos / "birds" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(DataError, match=r"broken\.png"):
        together(in_pieces(photos, like, 4))


def test_more_than_memory_holds_is_compressed(tmp_path, photos, monkeypatch):
    """With room for six pictures, 23 are refused by `load` and pass through `compress`."""
    monkeypatch.setattr(records, "PIECE", 6)
    monkeypatch.setattr(collecting, "_MAX_BYTES", 6 * 8 * 9 * 3)
    with pytest.raises(mg.DataError, match="memory"):
        mg.load_data(photos)
    assert mg.compress(None, photos, tmp_path / "a.mgz").records == 23
    found = mg.decompress(tmp_path / "a.mgz")
    assert found.x.shape == (23, 3, 8, 9) and found.names[0].startswith("birds/")
