"""Texts as records: exact inverses, splits, what cannot be read, and artifacts that keep the tokenizer."""

from __future__ import annotations

import json

import pytest
import torch

import morphogen as mg
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, SpecError
from morphogen.core.sequences import BEGIN, END, PADDING, SPECIAL, lengths, well_formed
from morphogen.data import load
from morphogen.data.sequences.tokenizers import describe, to_ids, to_texts, tokenizer_of

TEXTS = ["CC(=O)Oc1ccccc1", "[nH]1cccc1Br", "C[C@@H](Cl)C%12CC%12", "héllo  [end] wörld\t∑", " "]


@pytest.mark.parametrize("kind", ["characters", "smiles", "selfies", "trained"])
def test_a_text_comes_back_exactly(kind):
    schema = describe(kind, TEXTS, None)
    x, refused = to_ids(schema, TEXTS)
    assert not refused and to_texts(schema, x) == TEXTS
    assert well_formed(x.long()).all()
    assert not (x == BEGIN).any()
    assert int(lengths(x.long()).max()) == schema.longest - 1


def test_tokens_of_smiles_are_atoms():
    schema = describe("smiles", ["C[C@@H](Cl)Br%12"], None)
    tokens = tokenizer_of(schema).tokens("C[C@@H](Cl)Br%12")
    assert tokens is not None
    assert [tokenizer_of(schema).text([t]) for t in tokens] == ["C", "[C@@H]", "(", "Cl", ")", "Br", "%12"]


def test_trained_tokens_join_what_is_common_and_read_any_text():
    schema = describe("trained", ["the cat sat on the mat"] * 50, None, 300)
    x, refused = to_ids(schema, ["the mat"])
    assert not refused and int(lengths(x.long())[0]) < len("the mat")
    long = schema.replace(longest=64)
    assert to_texts(long, to_ids(long, ["Ω [pad] \n"])[0]) == ["Ω [pad] \n"]


def test_what_the_vocabulary_lacks_and_what_is_too_long_is_refused_by_row():
    schema = describe("characters", ["abc", "ab"], None)
    x, refused = to_ids(schema, ["ab", "axc", "abca"])
    assert set(refused) == {1, 2} and "'x'" not in refused[1] and "x" in refused[1] and "4 tokens" in refused[2]
    assert (x[1:] == PADDING).all()


def test_well_formed_is_tokens_one_end_and_padding():
    t = SPECIAL
    good = torch.tensor([[END, 0, 0], [t, END, 0], [t, t, END]])
    bad = torch.tensor([[t, t, t], [t, 0, END], [END, t, 0], [END, END, 0], [BEGIN, END, 0], [0, 0, 0]])
    assert well_formed(good).all() and not well_formed(bad).any()
    assert lengths(good).tolist() == [0, 1, 2]


def test_lines_of_a_file_become_records_in_splits(tmp_path):
    lines = [f"word {i}" for i in range(200)] + ["word 1"]
    (tmp_path / "words.txt").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    data = load(f"{tmp_path / 'words.txt'}")
    spec = data.spec
    assert spec.kind == "sequence" and spec.sequence is not None and spec.shape == (spec.sequence.longest,)
    assert sum(spec.splits.values()) == 201 and set(spec.splits) == {"train", "validation", "test"}
    texts = [text for records in data.splits.values() for text in to_texts(spec.sequence, records.stored)]
    assert sorted(texts) == sorted(lines)
    groups = list(mg.inspect_data(data).duplicates)
    assert len(groups) == 1 and len({m.split("/")[0] for m in groups[0]}) == 1, "equal texts stay in one split"
    batch = data.train.batch(slice(0, 4))
    assert batch.x.dtype == torch.int64
    spec.check(batch.x)


def test_other_texts_are_read_by_the_tokenizer_of_a_model(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"abc {'abc'[i % 3] * (1 + i % 7)}\n" for i in range(40)))
    (tmp_path / "b.txt").write_text("cab\nzebra\n")
    ours = load(str(tmp_path / "a.txt"))
    with pytest.raises(DataError, match=r"line 2.*vocabulary lacks"):
        load(str(tmp_path / "b.txt"), like=ours.spec)
    found = load(f"{tmp_path / 'b.txt'}:skip_bad,validation=0,test=0", like=ours.spec)
    assert len(found.train) == 1 and found.spec.sequence == ours.spec.sequence
    assert [p.record for p in found.problems] == ["line 2"]
    with pytest.raises(SpecError, match="tokens"):
        load(f"{tmp_path / 'b.txt'}:tokens=trained", like=ours.spec)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "no record"), (b"\n\n", "no record"), (b"\xff\xfe\x00", "UTF-8")],
)
def test_strange_files_are_errors_in_words(tmp_path, content, words):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load(str(tmp_path / "x.txt"))


def test_long_texts_are_listed_and_a_limit_can_be_set(tmp_path):
    (tmp_path / "x.txt").write_text("".join("a" * (i % 9 + 1) + "\n" for i in range(90)))
    with pytest.raises(DataError, match="longest"):
        load(f"{tmp_path / 'x.txt'}:longest=5")
    found = load(f"{tmp_path / 'x.txt'}:longest=5,skip_bad")
    assert found.spec.shape == (5,) and len(found.problems) == 50


def test_the_description_keeps_its_tokenizer_apart(tmp_path):
    (tmp_path / "x.txt").write_text("".join(f"{i}\n" for i in range(90)))
    spec = load(str(tmp_path / "x.txt")).spec
    stored = json.loads(json.dumps(spec.to_dict()))
    assert "definition" not in stored["sequence"]
    read = DataSpec.parse_stored(stored)
    assert read.sequence == spec.sequence and read.sequence is not None
    with pytest.raises(DataError, match="no tokenizer"):
        to_texts(read.sequence, torch.zeros(1, spec.shape[0]))
    with pytest.raises(SpecError):
        DataSpec.parse_stored({**stored, "levels": 999})


def test_texts_do_not_suit_a_model_of_pictures(tmp_path):
    (tmp_path / "x.txt").write_text("".join(f"{i}\n" for i in range(90)))
    with pytest.raises(DataError, match="are texts"):
        load(str(tmp_path / "x.txt"), like=load("digits").spec)
