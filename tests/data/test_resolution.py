"""The size at which a folder of large pictures is taken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphogen.data import load
from morphogen.data.resolution import sized


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos" / "sky"
    folder.mkdir(parents=True)
    for i in range(12):
        x = np.random.default_rng(i).integers(0, 256, (100 + i % 2, 140, 3), dtype=np.uint8)
        Image.fromarray(x).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    return tmp_path / "photos"


def test_large_pictures_are_cropped_to_the_side_that_is_asked_for(photos: Path) -> None:
    found = sized("photos", 32)
    assert found is not None
    assert found == ("photos:size=32,resize=crop", 100)
    assert load(f"{found[0]},skip_bad").spec.shape == (3, 32, 32)
    assert sized("photos:test=0.2", 32) == ("photos:test=0.2,size=32,resize=crop", 100)


@pytest.mark.parametrize("source", ["digits", "photos:size=64,resize=crop", "photos:resize=crop", "nowhere"])
def test_what_has_a_size_stays(photos: Path, source: str) -> None:
    assert sized(source, 32) is None


def test_small_pictures_stay(photos: Path) -> None:
    assert sized("photos", 100) is None
