"""Captions as token ids: training, reading, what is lost, and how records carry them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from morphogen.core.data_spec import PAD, DataSpec, TextSchema
from morphogen.core.errors import DataError, SpecError
from morphogen.data import Records, Stream, load
from morphogen.data.tokenizer import BEGIN, END, UNKNOWN, Tokenizer, describe

CAPTIONS = ["a small red circle", "a large red square", "a small blue square above a large red circle", "tHe Café"] * 2


def test_words_that_occur_twice_are_one_token_each_and_come_back():
    schema = describe(CAPTIONS, vocabulary=512, longest=64)
    found = Tokenizer.of(schema)
    ids = found.ids(CAPTIONS, schema.longest)
    assert schema.longest == 11 == 2 + max(len(c.split()) for c in CAPTIONS) and schema.cut == 0
    for caption, row in zip(CAPTIONS, ids, strict=True):
        n = 2 + len(caption.split())
        assert row[0] == BEGIN and row[n - 1] == END and (row[n:] == PAD).all()
        assert UNKNOWN not in row and len(set(row[1 : n - 1].tolist())) == len(set(caption.split()))
        assert found.text(row) == caption.lower()
    assert int(ids.max()) < schema.vocabulary == found.vocabulary <= 512


def test_normal_forms_are_read_alike():
    found = Tokenizer.of(describe([*CAPTIONS, "the woman's hat", "the woman's hat"], 512, 64))
    pairs = {"A  SMALL\tred circle": "a small red circle", "the woman’s hat": "the woman's hat", "Cafe\u0301": "café"}
    for a, b in pairs.items():
        assert torch.equal(*found.ids([a, b], 12)), (a, b)
    assert not torch.equal(*found.ids(["cafe", "café"], 12)), "accents tell words apart"
    assert torch.equal(found.ids(["", " \n"], 6), torch.full((2, 6), PAD)), "no word is no text"


def test_the_order_of_captions_does_not_matter_nor_does_the_process():
    import morphogen.data.tokenizer as module

    here = describe(CAPTIONS, 512, 64).fingerprint
    assert describe(CAPTIONS[::-1], 512, 64).fingerprint == here
    code = f"from {module.__name__} import describe; print(describe({CAPTIONS!r}, 512, 64).fingerprint)"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == here


def test_what_looks_like_a_special_token_is_text():
    found = Tokenizer.of(describe(["[end] of [pad]"] * 2, 512, 64))
    (row,) = found.ids(["[end] of [pad]"], 32).tolist()
    assert row.count(END) == 1 and row.index(END) == max(i for i, t in enumerate(row) if t != PAD)
    assert found.text(torch.tensor(row)).split() == ["[", "end", "]", "of", "[", "pad", "]"]


def test_strange_words_and_what_is_cut_off_are_said():
    schema = describe(CAPTIONS, 512, 64)
    found = Tokenizer.of(schema)
    assert found.read(["a small red square above a large blue circle"], schema.longest).warnings == ()
    read = found.read(["a Crimson circle", "a red 漢字 circle"], schema.longest)
    (said,) = read.warnings
    assert "'Crimson', '漢字'" in said and "circle'" not in said
    assert torch.equal(read.ids, found.ids(["a Crimson circle", "a red 漢字 circle"], schema.longest))
    long = "a small red circle above a large red square above a Small blue circle"
    read = found.read([long], schema.longest)
    (said,) = read.warnings
    assert "at most 11 tokens" in said and "'above a Small blue circle'" in said
    assert read.ids[0, -1] == END and found.text(read.ids[0]) == "a small red circle above a large red square"


def test_training_captions_beyond_the_limit_are_cut_and_counted():
    schema = describe(CAPTIONS, 512, longest=6)
    assert schema.longest == 6 and schema.cut == 2
    assert Tokenizer.of(schema).ids(CAPTIONS, 6).shape == (8, 6)


def test_a_schema_holds_its_tokenizer_but_its_dict_only_the_fingerprint():
    schema = describe(CAPTIONS, 512, 64)
    data = DataSpec(name="d", shape=(2,), kind="continuous", text=schema)
    assert data.replace(name="e").text.tokenizer == schema.tokenizer
    assert "tokenizer" not in data.to_dict()["text"] and json.dumps(data.to_dict())
    assert DataSpec.parse(data.to_dict()) == data
    assert schema != describe(CAPTIONS[:1] * 2, 512, schema.longest)
    with pytest.raises(SpecError, match="fingerprint"):
        TextSchema.parse({**schema.to_dict(), "tokenizer": schema.tokenizer.replace("red", "rad")})
    with pytest.raises(DataError, match="no tokenizer"):
        Tokenizer.of(TextSchema(longest=4))
    with pytest.raises(DataError, match="JSON of a tokenizer"):
        Tokenizer("{}")


def test_records_come_with_their_words():
    data = load("shapes:size=16,n=200")
    batch = data.train.batch(torch.tensor([3, 1]))
    found = Tokenizer.of(data.spec.text)
    assert [found.text(row) for row in batch.cond.text] == [data.train.captions[3], data.train.captions[1]]
    assert torch.equal(batch.cond.text_mask, batch.cond.text != PAD)
    hidden = batch.cond.kept(torch.tensor([False, True]))
    assert not hidden.text_mask[0].any() and torch.equal(hidden.text_mask[1], batch.cond.text_mask[1])


def test_other_records_are_read_with_the_words_of_the_model():
    data = load("shapes:size=16,n=200")
    other = load("shapes:n=60,seed=1", like=data.spec)
    assert other.spec.text == data.spec.text
    row = Tokenizer.of(data.spec.text).ids(other.train.captions[:1], data.spec.text.longest)
    assert torch.equal(other.train.text[:1, 0], row)
    assert load("shapes:size=16,n=60,captions=none").spec.text is None
    assert load("shapes:size=16,n=60,captions=none").train.batch().cond is None
    assert load("shapes:size=16,n=60,longest=5").train.text.shape[2] == 5


def test_words_that_were_learned_later_are_known():
    text = describe(CAPTIONS, 200, 20)
    assert Tokenizer.of(text).in_parts(["a Zebra"]) == ["zebra"]
    assert Tokenizer.of(text).read(["a zebra"], 20).warnings
    assert not Tokenizer.of(text.replace(more_words=("zebra",))).read(["a ZEBRA"], 20).warnings


def test_the_tokenizer_learns_from_training_captions_alone(tmp_path):
    arrays = {}
    for split, word in {"train": "red", "test": "mauve"}.items():
        arrays[f"{split}_images"] = np.full((20, 8, 8), np.arange(20)[:, None, None], np.uint8)
        arrays[f"{split}_captions"] = np.array([f"a {word} thing"] * 20)
    np.savez(tmp_path / "x.npz", **arrays)
    data = load(tmp_path / "x.npz")
    found = Tokenizer.of(data.spec.text)
    assert found.read(["a red thing"], 8).warnings == () and "mauve" in found.read(["a mauve thing"], 8).warnings[0]


@pytest.fixture
def several(tmp_path):
    """Pictures with three captions, two, and none."""
    texts = [["a red one", "the first", "number one"], ["a blue one", "the second"], []]
    lines = []
    for i in range(60):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i:02}.png")
        lines.append(json.dumps({"file_name": f"{i:02}.png", "text": texts[i % 3]}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    return tmp_path, texts


def test_training_draws_one_of_several_captions_by_the_place_in_the_stream(several):
    folder, texts = several
    train = load(f"{folder}:test=0,validation=0").train
    found, stream = Tokenizer.of(train.spec.text), Stream(train, 30, seed=0)
    assert train.captions[:3] == ["a red one", "a blue one", ""] and train.text.shape[1] == 3
    seen = [set(), set(), set()]
    for step in range(40):
        batch = stream.batch(step)
        for which, row in zip(batch.ids.tolist(), batch.cond.text, strict=True):
            seen[which % 3].add(found.text(row))
        assert torch.equal(batch.cond.text, Stream(train, 30, seed=0).batch(step).cond.text)
    assert seen == [set(texts[0]), set(texts[1]), {""}]  # 400 draws of each of at most 3: one is missed with p < 1e-69
    assert [found.text(row) for row in train.batch(slice(0, 3)).cond.text] == train.captions[:3]
    shares = [stream.batch(step, rank, 2).cond.text for rank in (0, 1) for step in (5,)]
    assert torch.equal(torch.cat(shares), stream.batch(5).cond.text), "also when two processes share a batch"


def test_captions_first_and_a_change_of_paraphrases(several):
    folder, _ = several
    first = load(f"{folder}:captions=first")
    assert first.train.text.shape[1] == 1 and first.train.paraphrases is None
    assert first.spec.fingerprint != load(folder).spec.fingerprint


def test_records_without_a_tokenizer_have_no_words():
    spec = DataSpec(name="old", shape=(2,), kind="continuous", text=TextSchema(longest=3))
    records = Records(spec, torch.zeros(2, 2), torch.arange(2), captions=["a", "b"])
    assert records.batch().cond is None
