"""Strange pictures and folders: each is read as it should be, or refused in words; totals add up."""

import io
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from morphogen.core.errors import DataError
from morphogen.data import inspect, load
from morphogen.data.options import OwnSplits
from morphogen.data.picture_files.reading import UNUSUAL, decode, read_picture
from tests.data import strange_files, strange_folders


@pytest.mark.parametrize("name", strange_files.PICTURES)
def test_a_picture_is_read_or_refused_in_words(name, tmp_path):
    expected = strange_files.PICTURES[name](tmp_path / "a.png")
    if expected.words is not None:
        with open(tmp_path / "a.png", "rb") as file, pytest.raises(DataError, match=expected.words):
            decode(file)
        return
    with open(tmp_path / "a.png", "rb") as file:
        picture = read_picture(file)
    middle = strange_files.SIZE // 2
    values = picture.values[:, middle, middle].tolist()
    assert len(values) == len(expected.pixel)
    assert all(abs(a - b) <= 1 for a, b in zip(values, expected.pixel, strict=True))
    found = inspect(tmp_path)
    assert found.counts == {"train": 1} and not found.problems
    assert any(expected.note in note for note in found.notes) if expected.note else not picture.unusual
    assert set(picture.unusual) <= UNUSUAL.keys()


@pytest.mark.parametrize("name", strange_folders.FOLDERS)
def test_a_folder_is_sorted_as_it_should_be_and_its_totals_add_up(name, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    expected = strange_folders.FOLDERS[name](root)
    source = f"{root}:validation=0,test=0"
    if expected.error is not None:
        with pytest.raises(DataError, match=expected.error):
            load(source, strict=False)
        return
    found = inspect(source)
    assert sum(found.counts.values()) == expected.records
    assert expected.splits is None or found.counts == expected.splits
    assert found.spec.classes == expected.classes
    problems = {p.record: p.what for p in found.problems}
    assert problems.keys() == expected.problems.keys()
    assert all(words in problems[record] for record, words in expected.problems.items())
    assert all(any(words in note for note in found.notes) for words in expected.notes)
    if expected.captions is not None:
        records = [(r.names[i], r.captions[i]) for r in found.dataset.splits.values() for i in range(len(r))]
        assert dict(records) == expected.captions
    entries = [p for p in root.rglob("*") if not (p.is_dir() and not p.is_symlink()) and "hidden/" not in str(p)]
    files = found.files
    assert files.records == expected.records
    assert files.seen == files.records + files.captions + files.left_out + len(files.others) == len(entries)
    json.dumps(found.to_dict(), ensure_ascii=False).encode()  # strict UTF-8
    if expected.problems:
        with pytest.raises(DataError, match="cannot be used"):
            load(source)
        assert sum(load(f"{source},skip_bad").spec.splits.values()) == expected.records


def test_no_program_is_started(tmp_path, monkeypatch):
    def refuse(*_args, **_how):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    strange_files.postscript(tmp_path / "a.eps")
    with open(tmp_path / "a.eps", "rb") as file, pytest.raises(DataError, match="PostScript"):
        decode(file)


def test_twelve_bits_share_one_map_that_other_data_are_prepared_with(tmp_path):
    strange_folders.twelve_bits_of_sixteen(tmp_path / "a")
    (tmp_path / "b").mkdir()
    Image.fromarray(np.full((12, 12), 200, np.uint16)).save(tmp_path / "b" / "0.png")
    data = load(f"{tmp_path}/a:validation=0,test=0")
    assert data.spec.preprocessing["bits"] == 12
    shades = {n: int(p.max()) for n, p in zip(data.train.names, data.train.stored, strict=True)}
    assert shades == {f"{i}.png": round(255 * (1000 * i + 500) / 4095) for i in range(4)}
    alike = load(f"{tmp_path}/b:validation=0,test=0", like=data.spec)
    assert alike.train.stored.unique().tolist() == [round(255 * 200 / 4095)]
    assert load(f"{tmp_path}/b:validation=0,test=0,bits=10").train.stored.unique().tolist() == [round(255 * 200 / 1023)]
    with pytest.raises(DataError, match="has values up to 3500, more than 10 bits"):
        load(f"{tmp_path}/a:bits=10")


def test_an_array_takes_the_same_map_where_its_range_is_said(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (20, 4, 4)).astype(np.uint16)
    np.savez(tmp_path / "a.npz", images=values)
    with pytest.raises(DataError, match="bits=12"):
        load(tmp_path / "a.npz")
    stored = load(f"{tmp_path}/a.npz:bits=12,validation=0,test=0").train.stored[:, 0]
    assert torch.equal(stored, (torch.from_numpy(values.astype(np.float64)) * 255 / 4095).round().byte())


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_the_map_of_deep_values_is_the_nearest_byte(bits):
    top = (1 << bits) - 1
    values = np.linspace(0, top, 1024).round().astype(np.uint16).reshape(32, 32)
    file = io.BytesIO()
    Image.fromarray(values).save(file, format="PNG")
    found = decode(file, bits)[0].double()
    exact = torch.from_numpy(values.astype(np.float64)) * 255.0 / top
    assert (found - exact).abs().max() <= 0.5


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_all_eight_orientations_in_all_formats(form, turn, tmp_path):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :12] = 255  # the upper left quarter
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90"}
    undo |= {7: "TRANSVERSE", 8: "ROTATE_270"}
    image = Image.fromarray(upright)
    image = image if turn == 1 else image.transpose(Image.Transpose[undo[turn]])
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(tmp_path / "a.png", format=form, exif=exif)
    found = inspect(f"{tmp_path}:validation=0,test=0")
    assert found.spec.shape == (3, 16, 24) and not found.problems
    stored = found.dataset.train.stored[0].float()
    assert (stored - torch.from_numpy(upright).permute(2, 0, 1)).abs().mean() < 8
    assert any("orientation" in note for note in found.notes) == (turn > 1)


def test_colors_of_print_go_through_their_profile():
    # A profile of print cannot be made here; one of other channels must change nothing.
    file = io.BytesIO()
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(file, format="TIFF", icc_profile=strange_files.profile())
    picture = read_picture(file)
    assert picture.values[:, 0, 0].tolist() == [255, 0, 0] and "bad profile" in picture.unusual


def test_a_profile_gives_what_littlecms_gives(tmp_path):
    pixels = strange_files.pixels(5)
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=strange_files.profile(1.8))
    with open(tmp_path / "a.png", "rb") as file:
        found = decode(file)
    source = ImageCms.ImageCmsProfile(io.BytesIO(strange_files.profile(1.8)))
    exact = ImageCms.profileToProfile(Image.fromarray(pixels), source, ImageCms.createProfile("sRGB"))
    assert np.abs(found.permute(1, 2, 0).numpy().astype(int) - np.asarray(exact).astype(int)).max() <= 1
    assert np.abs(found.permute(1, 2, 0).numpy().astype(int) - pixels.astype(int)).max() > 10


def test_large_pictures_are_brought_to_size_in_parts_and_alike(tmp_path, monkeypatch):
    from morphogen.data import pictures

    x = torch.randint(0, 256, (1, 4, 50, 70), dtype=torch.uint8)
    options = OwnSplits.parse({"size": "20x28", "resize": "crop"})
    whole = pictures.with_size(pictures.with_channels(x, "rgb", (9, 9, 9)), options)
    monkeypatch.setattr(pictures, "_LARGE", 100)
    parts = pictures.with_size(pictures.with_channels(x, "rgb", (9, 9, 9)), options)
    assert (whole.int() - parts.int()).abs().max() <= 1
    with pytest.raises(DataError, match="too long and narrow"):
        pictures.with_size(
            torch.zeros(1, 1, 1, 1 << 22, dtype=torch.uint8), OwnSplits.parse({"size": 64, "resize": "crop"})
        )


def test_a_name_that_no_model_can_store_is_an_error_before_any_work(tmp_path):
    root = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    os.mkdir(root)
    strange_files.plain(Path(root) / "a.png")
    with pytest.raises(DataError, match=r"caf\\xe9: a model cannot store this name"):
        load(f"{root}:validation=0,test=0")
    inspect(f"{root}:validation=0,test=0")


def test_long_lists_have_an_end(tmp_path):
    for i in range(300):
        (tmp_path / f"{i:03}.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as raised:
        load(tmp_path)
    assert str(raised.value).count("\n") <= 12 and re.search("and 290 more", str(raised.value))
