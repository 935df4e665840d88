"""Folders of pictures: layouts, formats, sizes, channels, and what is wrong with some of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen.core.errors import DataError
from morphogen.data import load
from morphogen.data.folder import listing


def picture(path, height=12, width=12, mode="RGB", seed=0):
    """Write a random picture and return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels, mode=None).save(path)
    return pixels


def everything(dataset):
    """name -> stored picture, over all splits."""
    return {n: r.stored[i] for r in dataset.splits.values() for i, n in enumerate(r.names)}


def test_flat_folder(tmp_path):
    pixels = {f"{i:02}.png": picture(tmp_path / f"{i:02}.png", seed=i) for i in range(40)}
    data = load(tmp_path)
    assert data.spec.shape == (3, 12, 12) and data.spec.kind == "continuous" and data.spec.levels == 256
    assert data.spec.splits == {"train": 34, "validation": 2, "test": 4}
    found = everything(data)
    assert found.keys() == pixels.keys()
    for name, stored in found.items():
        assert np.array_equal(stored.permute(1, 2, 0).numpy(), pixels[name])
    ids = torch.cat([r.ids for r in data.splits.values()])
    assert torch.equal(ids.sort().values, torch.arange(40))
    assert data.train.labels is None and data.train.batch().cond is None
    assert load(tmp_path).spec.fingerprint == data.spec.fingerprint


def test_duplicates_land_on_one_side_and_the_order_of_names_does_not_matter(tmp_path):
    for i in range(30):
        for copy in ("a", "b"):
            picture(tmp_path / "one" / f"{copy}{i}.png", seed=i)
            picture(tmp_path / "two" / f"{99 - i}{copy}.png", seed=i)
    one, two = load(tmp_path / "one:test=0.3"), load(tmp_path / "two:test=0.3")
    for data in (one, two):
        sides = [{p.numpy().tobytes() for p in records.stored} for records in data.splits.values()]
        assert not any(a & b for i, a in enumerate(sides) for b in sides[i + 1 :])
        assert sum(len(s) for s in sides) == 30
    for name in one.splits:
        assert {p.numpy().tobytes() for p in one.split(name).stored} == {
            p.numpy().tobytes() for p in two.split(name).stored
        }


def test_a_picture_stays_on_its_side_at_every_size(tmp_path):
    for i in range(40):
        picture(tmp_path / f"{i:02}.png", seed=i)
    one, two = load(f"{tmp_path}:size=12"), load(f"{tmp_path}:size=8,channels=gray")
    assert {s: r.names for s, r in one.splits.items()} == {s: r.names for s, r in two.splits.items()}


def test_data_of_a_model_of_earlier_versions_keep_their_split(tmp_path):
    for i in range(60):
        picture(tmp_path / f"{i:02}.png", seed=i)
    by_pixels, by_file = load(f"{tmp_path}:split_by=pixels"), load(tmp_path)
    kept = {name: value for name, value in by_pixels.spec.preprocessing.items() if name != "split_by"}
    again = load(tmp_path, like=by_pixels.spec.replace(preprocessing=kept))
    assert {s: r.names for s, r in again.splits.items()} == {s: r.names for s, r in by_pixels.splits.items()}
    assert again.split("test").names != by_file.split("test").names


def test_class_subfolders(tmp_path):
    for i in range(20):
        picture(tmp_path / ("cat" if i % 2 else "dog") / "deeper" / f"{i}.png", seed=i)
    data = load(tmp_path)
    assert data.spec.classes == ("cat", "dog")
    for records in data.splits.values():
        assert [n.split("/")[0] for n in records.names] == [data.spec.classes[k] for k in records.labels.tolist()]
        assert torch.equal(records.batch().cond.label, records.labels)


def test_split_subfolders_with_classes(tmp_path):
    for split, n in (("train", 20), ("val", 3), ("test", 4)):
        for i in range(n):
            picture(tmp_path / split / "ab"[i % 2] / f"{i}.png", seed=100 * len(split) + i)
    data = load(tmp_path)
    assert data.spec.splits == {"train": 20, "validation": 3, "test": 4}
    assert data.spec.classes == ("a", "b")
    picture(tmp_path / "loose.png")
    with pytest.raises(DataError, match=r"loose\.png lies beside the splits"):
        load(tmp_path)


def test_a_training_folder_without_validation_gives_some_up(tmp_path):
    for i in range(40):
        picture(tmp_path / ("test" if i < 5 else "train") / f"{i}.png", seed=i)
    assert load(tmp_path).spec.splits == {"train": 32, "validation": 3, "test": 5}
    assert load(f"{tmp_path}:validation=0").spec.splits == {"train": 35, "test": 5}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("splits", [False, True])
def test_image_folder_with_captions(tmp_path, form, splits):
    for split in ("train", "test") if splits else ("",):
        rows = []
        for i in range(10):
            name = f"{i}.png" if i % 2 else f"sub/{i}.png"
            picture(tmp_path / split / name, seed=i + 100 * (split == "test"))
            rows.append((name, f'a "{i}", ü'))
        where = tmp_path / split / f"metadata.{form}"
        if form == "csv":
            lines = ["file_name,text", *(f'{n},"{t.replace(chr(34), chr(34) * 2)}"' for n, t in rows)]
        else:
            lines = [json.dumps({"file_name": n, "text": t}) for n, t in rows]
        where.write_text("\n".join(lines) + "\n", encoding="utf-8")
    data = load(tmp_path)
    assert data.spec.text is not None and data.spec.text.vocabulary > 4 and not data.spec.classes
    for records in data.splits.values():
        for name, caption in zip(records.names, records.captions, strict=True):
            assert caption == f'a "{name.split("/")[-1][:-4]}", ü'
    assert sum(len(r) for r in data.splits.values()) == (20 if splits else 10)
    assert ("test" in data.splits) or not splits


def test_metadata_that_does_not_match_is_listed_by_name(tmp_path):
    for i in range(6):
        picture(tmp_path / f"{i}.png", seed=i)
    lines = ["file_name,text", *(f"{i}.png,x" for i in (0, 1, 2, 2, 3, 4)), "missing.png,x"]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    with pytest.raises(DataError) as raised:
        load(tmp_path)
    assert "2.png: is listed 2 times in metadata.csv" in str(raised.value)
    assert "5.png: has no line in metadata.csv" in str(raised.value)
    assert "missing.png: is listed in metadata.csv but there is no such file" in str(raised.value)
    data = load(f"{tmp_path}:skip_bad")
    assert sorted(everything(data)) == ["0.png", "1.png", "3.png", "4.png"]
    assert [p.record for p in data.problems] == ["2.png", "5.png", "missing.png"]


@pytest.mark.parametrize("text", ["file,text\n0.png,x\n", "file_name,caption\n0.png,x\n", "\xff\xfe"])
def test_metadata_of_another_form(tmp_path, text):
    picture(tmp_path / "0.png")
    (tmp_path / "metadata.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"metadata\.csv"):
        load(tmp_path)


def test_bad_records_are_listed_by_name_and_never_dropped_silently(tmp_path):
    for i in range(20):
        picture(tmp_path / f"{i:02}.png", seed=i)
    good = (tmp_path / "05.png").read_bytes()
    (tmp_path / "03.png").write_bytes(b"no picture")
    (tmp_path / "05.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "21.heic").write_bytes(b"unknown")
    (tmp_path / "README.md").write_text("this is no record")
    (tmp_path / ".DS_Store").write_bytes(b"nor this")
    frames = [Image.new("RGB", (12, 12), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "22.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="4 records cannot be used") as raised:
        load(tmp_path)
    for name in ("03.png", "05.png", "21.heic", "22.gif: holds several frames"):
        assert name in str(raised.value)
    for data in (load(tmp_path, strict=False), load(f"{tmp_path}:skip_bad")):
        assert [p.record for p in data.problems] == ["03.png", "05.png", "21.heic", "22.gif"]
        assert sum(data.spec.splits.values()) == 18
        ids = {n: int(i) for r in data.splits.values() for n, i in zip(r.names, r.ids, strict=True)}
        assert ids["04.png"] == 4 and ids["19.png"] == 19  # a bad record keeps its number


def test_empty_and_ambiguous_folders(tmp_path):
    with pytest.raises(DataError, match="no picture in this folder"):
        load(tmp_path)
    picture(tmp_path / "a.png")
    picture(tmp_path / "sub" / "b.png")
    with pytest.raises(DataError, match="lies beside the subfolder sub"):
        load(tmp_path)


def test_mixed_sizes_need_a_policy(tmp_path):
    for i in range(12):
        picture(tmp_path / f"{i:02}.png", height=16 if i == 7 else 12, seed=i)
    with pytest.raises(DataError, match=r"07\.png: is 16x12, most are 12x12.*resize=crop"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"07\.png: is 16x12 and does not fit 8x8"):
        load(f"{tmp_path}:size=8")
    for policy in ("crop", "pad", "stretch"):
        assert load(f"{tmp_path}:size=8x10,resize={policy}").spec.shape == (3, 8, 10)
    assert [p.record for p in load(tmp_path, strict=False).problems] == ["07.png"]


def test_resize_policies_do_what_they_say(tmp_path):
    left, right = np.full((20, 10, 3), 200, np.uint8), np.full((20, 30, 3), 50, np.uint8)
    Image.fromarray(np.concatenate((left, right), axis=1)).save(tmp_path / "a.png")  # 20 x 40

    def one(options):
        return load(f"{tmp_path}:test=0,validation=0,{options}").train.stored[0].permute(1, 2, 0).numpy()

    assert np.array_equal(one("size=20x40"), np.concatenate((left, right), axis=1))
    crop = one("size=20,resize=crop")  # columns 10 .. 29
    assert crop.shape == (20, 20, 3) and (crop == 50).all()
    pad = one("size=40,resize=pad,background=#010203")
    assert (pad[:10] == (1, 2, 3)).all() and (pad[30:] == (1, 2, 3)).all() and (pad[10:30, 12:] == 50).all()
    stretch = one("size=20x20,resize=stretch")
    assert (stretch[:, :3] == 200).all() and (stretch[:, 8:] == 50).all()
    turned = one("size=40x20,resize=rotate")
    assert (turned[30:] == 200).all() and (turned[:30] == 50).all()
    half = one("size=10x20")  # the same aspect ratio needs no policy
    assert (half[:, :3] == 200).all() and (half[:, 8:] == 50).all()


def test_transparency_is_laid_on_the_stated_color(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4] = (255, 0, 0, 128)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    def one(options):
        return load(f"{tmp_path}:test=0,validation=0{options}").train.stored[0]

    white, blue = one(""), one(",background=#0000ff")
    assert white[:, 7, 0].tolist() == [255, 255, 255] and blue[:, 7, 0].tolist() == [0, 0, 255]
    assert white[:, 0, 0].tolist() == [255, 127, 127] and blue[:, 0, 0].tolist() == [128, 0, 127]
    assert one(",channels=rgba").shape == (4, 8, 8)
    # Resampled premultiplied: what is transparent has no color that could bleed into the rest.
    small = one(",channels=rgba,size=4")
    assert small[0, 0].tolist() == [255] * 4 and small[3, 3].tolist() == [0] * 4


def test_channels(tmp_path):
    picture(tmp_path / "gray" / "a.png", mode="L")
    picture(tmp_path / "both" / "a.png", mode="L")
    color = picture(tmp_path / "both" / "b.png", seed=1)

    def shape(source):
        return load(f"{tmp_path}/{source}").spec.shape

    assert shape("gray") == (1, 12, 12)
    assert shape("both") == (3, 12, 12)
    assert shape("gray:channels=rgb") == (3, 12, 12)
    assert shape("gray:channels=rgba") == (4, 12, 12)
    gray = everything(load(f"{tmp_path}/both:channels=gray"))["b.png"]
    assert (gray.float() - torch.from_numpy(color.astype(np.float32) @ (0.299, 0.587, 0.114))).abs().max() <= 0.501


def test_formats_are_handled_explicitly(tmp_path):
    ramp = np.arange(144, dtype=np.uint16).reshape(12, 12) * 450
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    palette = Image.fromarray(picture(tmp_path / "x.png")).quantize(8)
    palette.save(tmp_path / "palette.png")
    (tmp_path / "x.png").unlink()
    clear = Image.new("P", (12, 12))
    clear.putpalette([0, 0, 0, 9, 9, 9])
    clear.save(tmp_path / "clear.gif", transparency=0)
    Image.new("1", (12, 12), 1).save(tmp_path / "bits.png")
    Image.new("CMYK", (12, 12), (0, 0, 0, 255)).save(tmp_path / "print.jpg")
    Image.fromarray(np.zeros((12, 12), np.float32)).save(tmp_path / "float.tif")
    data = load(tmp_path, strict=False)
    assert [(p.record, "floating point" in p.what) for p in data.problems] == [("float.tif", True)]
    found = everything(data)
    assert np.array_equal(found["deep.png"][0].numpy(), np.round(ramp / 257).astype(np.uint8))
    assert np.array_equal(found["palette.png"].permute(1, 2, 0).numpy(), np.asarray(palette.convert("RGB")))
    assert (found["clear.gif"] == 255).all() and (found["bits.png"] == 255).all()
    assert (found["print.jpg"] < 10).all()


def test_orientation_is_respected(tmp_path):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right for display
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    stored = load(f"{tmp_path}:test=0,validation=0").train.stored[0]
    assert stored.shape == (3, 16, 8)
    assert (stored[:, :8] == 255).all() and (stored[:, 8:] == 0).all()


def test_pictures_that_do_not_fit_into_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    picture(tmp_path / "a.png")
    monkeypatch.setattr("morphogen.data.picture_files.collecting._MAX_BYTES", 100)
    with pytest.raises(DataError, match="choose a smaller size"):
        load(tmp_path)


def test_the_work_for_links_grows_as_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def counted(name: str) -> list[str]:
        nonlocal calls
        calls += 1
        return name.split("/")

    monkeypatch.setattr(listing, "by_parts", counted)
    (tmp_path / "outside").mkdir()
    (tmp_path / "shown").mkdir()
    for i in range(300):
        (tmp_path / "outside" / f"{i}.png").touch()
        (tmp_path / "shown" / f"{i}.png").symlink_to(tmp_path / "outside" / f"{i}.png")
    assert len(listing.list_folder(tmp_path / "shown").pictures) == 300
    assert calls <= 3 * 300
