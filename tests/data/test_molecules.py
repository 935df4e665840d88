"""Molecules: their standard form, what is refused, files, attributes, and files of drawn ones."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

import morphogen as mg
from morphogen.core.errors import DataError, UsageError
from morphogen.data import load
from morphogen.data.molecules.inspection import inspect_molecules, scaffold
from morphogen.data.molecules.properties import PROPERTIES, compute
from morphogen.data.molecules.standard_form import canonical, molecule_of, standard_form
from morphogen.data.molecules.writing import smi_file
from morphogen.data.sequences.tokenizers import to_texts

pytest.importorskip("rdkit", reason="needs the extra molecules")
needs_sets = pytest.mark.skipif("MORPHOGEN_DATA" not in os.environ, reason="needs MORPHOGEN_DATA")
SOME = ["CCO", "c1ccccc1O", "CC(=O)Nc1ccc(O)cc1", "CN1CCC[C@H]1c1cccnc1", "OC(=O)c1ccccc1OC(C)=O", "CCN(CC)CC"]


def test_one_molecule_has_one_form():
    for one, other in (("OCC", "CCO"), ("C1=CC=CC=C1", "c1ccccc1"), ("[NH3+]CC([O-])=O", "NCC(=O)O")):
        assert standard_form(one).smiles == standard_form(other).smiles
        assert standard_form(standard_form(one).smiles) == type(standard_form(one))(standard_form(one).smiles)


@pytest.mark.parametrize(
    ("smiles", "becomes", "said"),
    [
        ("CC(=O)[O-].[Na+]", "CC(=O)O", "[Na+]"),
        ("[13CH3]O", "CO", "isotope"),
        ("[2H]OC", "CO", "isotope"),
        ("C[N+](C)(C)C", "C[N+](C)(C)C", ""),
        ("CC[O-]", "CCO", "charges"),
        ("F/C=C/F", "F/C=C/F", ""),
    ],
)
def test_what_is_changed_is_said(smiles, becomes, said):
    form = standard_form(smiles)
    assert form.smiles == becomes
    assert (said in " ".join(form.changes)) if said else not form.changes


def test_stereo_marks_are_dropped_where_asked():
    form = standard_form("C[C@H](N)C(=O)O", stereo=False)
    assert form.smiles == "CC(N)C(=O)O" and form.changes == ("stereo marks are removed",)


@pytest.mark.parametrize("text", ["", "C1CC", "c1cccc1", "C(C)(C)(C)(C)C", "[nope]", "héllo", "C" * 3000])
def test_what_is_no_molecule_is_refused_in_words(text):
    with pytest.raises(DataError) as error:
        standard_form(text)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)
    assert molecule_of(text) is None and canonical(text) is None


def test_a_file_of_lines_lists_what_was_changed_and_refused(tmp_path):
    good = [f"{'C' * i}O\tmolecule {i}" for i in range(1, 60)]
    (tmp_path / "m.smi").write_text("\n".join(["# comment", *good, "C1CC bad one", "CC[O-].[Na+]", ""]))
    with pytest.raises(DataError, match=r"line 61 \(bad one\)"):
        load(str(tmp_path / "m.smi"))
    data = load(f"{tmp_path / 'm.smi'}:skip_bad")
    assert [p.record for p in data.problems] == ["line 61 (bad one)"]
    assert {c.record for c in data.changes} == {"line 62"} and any("[Na+]" in c.what for c in data.changes)
    assert data.spec.sequence is not None and data.spec.sequence.content == "molecules"
    texts = [t for records in data.splits.values() for t in to_texts(data.spec.sequence, records.stored)]
    assert sorted(texts) == sorted([f"{'C' * i}O" for i in range(1, 60)] + ["CCO"])
    found = mg.inspect_data(f"{tmp_path / 'm.smi'}:skip_bad").to_dict()
    assert found["sequences"]["scaffolds"] == 1 and len(found["changes"]) == 2
    assert len(found["problems"]) == 1


def test_columns_of_numbers_become_attributes_and_others_are_computed(tmp_path):
    rows = [f"{'C' * (1 + i % 20)}N,{i / 7},drug,{'train' if i % 5 else 'test'}" for i in range(100)]
    (tmp_path / "m.csv").write_text("SMILES,activity,kind,split\n" + "\n".join(rows) + "\n")
    data = load(str(tmp_path / "m.csv"))
    assert [a.name for a in data.spec.attributes] == ["activity"] and data.spec.splits["test"] == 20
    assert data.spec.attributes[0].high == pytest.approx(99 / 7, rel=1e-6)
    assert any("kind" in note for note in data.notes)
    data = load(f"{tmp_path / 'm.csv'}:attributes=qed,logp,activity,skip_bad")
    assert [a.name for a in data.spec.attributes] == ["qed", "logp", "activity"] and data.spec.preprocessing["skip_bad"]
    records = data.train
    assert data.spec.sequence is not None and records.attributes is not None
    texts = to_texts(data.spec.sequence, records.stored)
    assert np.allclose(records.attributes[:, :2].numpy(), compute(["qed", "logp"], texts), atol=1e-4)
    low, high = data.spec.attributes[0].low, data.spec.attributes[0].high
    assert low == pytest.approx(float(records.attributes[:, 0].min())) and high is not None
    with pytest.raises(UsageError, match="logp"):
        load(f"{tmp_path / 'm.csv'}:attributes=logpp")
    with pytest.raises(UsageError, match="SMILES"):
        load(f"{tmp_path / 'm.csv'}:column=smile")
    again = load(data.spec.source, like=data.spec)
    assert again.spec.attributes == data.spec.attributes and again.spec.fingerprint == data.spec.fingerprint


def test_missing_values_are_not_known(tmp_path):
    rows = [f"{'C' * (1 + i)}N,{i if i % 2 else ''}" for i in range(60)]
    (tmp_path / "m.csv").write_text("smiles,y\n" + "\n".join(rows) + "\n")
    records = load(str(tmp_path / "m.csv")).train
    assert records.present is not None and 0 < int(records.present.sum()) < len(records)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("smiles\n", "no record"),
        ("smiles,x\nCC\n", "1 fields"),
        ('smiles\n"CC\n', "CSV"),
    ],
)
def test_strange_tables_are_errors_in_words(tmp_path, text, words):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        load(str(tmp_path / "m.csv"))


def test_a_table_of_molecules_that_is_asked_for_needs_its_column(tmp_path):
    (tmp_path / "m.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="unknown column 'c'"):
        load(f"{tmp_path / 'm.csv'}:column=c")


def test_a_table_in_parquet_is_read_alike(tmp_path):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"smiles": [f"{'C' * i}O" for i in range(1, 80)], "y": [float(i) for i in range(1, 80)]})
    frame.write_parquet(tmp_path / "m.parquet")
    frame.write_csv(tmp_path / "m.csv")
    one, other = load(str(tmp_path / "m.parquet")), load(str(tmp_path / "m.csv"))
    assert one.spec.fingerprint == other.spec.fingerprint
    (tmp_path / "n.parquet").write_bytes(b"PAR1 no table")
    with pytest.raises(DataError, match="Parquet"):
        load(str(tmp_path / "n.parquet"))


def test_selfies_are_molecules_whatever_the_tokens_are(tmp_path):
    pytest.importorskip("selfies")
    (tmp_path / "m.smi").write_text("\n".join(SOME * 8))
    data = load(f"{tmp_path / 'm.smi'}:tokens=selfies")
    spec = data.spec
    assert spec.sequence is not None
    x = torch.randint(3, spec.levels or 4, (50, spec.shape[0]), generator=torch.Generator().manual_seed(0))
    x[:, -1] = 2
    drawn = mg.Pictures(x.numpy(), spec)
    assert all(molecule_of(text) is not None for text in drawn.texts)


def test_drawn_molecules_are_written_with_a_mark_on_what_is_none(tmp_path):
    lines = smi_file(["CCO", "C1CC", ""]).splitlines()
    assert lines[0] == "CCO\tsample_00000"
    assert lines[1].startswith("C1CC\tsample_00001 INVALID: ") and "INVALID" in lines[2] and len(lines) == 3
    (tmp_path / "out.smi").write_text("\n".join(lines))
    with pytest.raises(DataError, match="no SMILES"):
        load(str(tmp_path / "out.smi"))


def test_properties_are_those_of_their_definitions():
    names = ("n_heavy", "mol_wt", "n_hbd", "n_rings", "fsp3")
    got = compute(names, ["CCO", "c1ccccc1", "nonsense"])
    assert np.allclose(got[0], [3, 46.069, 1, 0, 1.0], atol=1e-3) and np.allclose(
        got[1], [6, 78.114, 0, 1, 0], atol=1e-3
    )
    assert np.isnan(got[2]).all()
    every = compute(list(PROPERTIES), SOME)
    assert np.isfinite(every).all()
    assert ((every[:, 0] >= 0) & (every[:, 0] <= 1)).all()
    sa = every[:, list(PROPERTIES).index("sa")]
    assert ((sa >= 1) & (sa <= 10)).all()
    with pytest.raises(UsageError, match="qed"):
        compute(["qedd"], SOME)


def test_scaffolds_are_rings_and_what_links_them():
    assert scaffold("CCc1ccccc1") == "c1ccccc1" and scaffold("CCO") == "" and scaffold("C1CC") is None
    found = inspect_molecules(SOME)
    assert found["looked_at"] == 6 and found["scaffolds"] == 3


@needs_sets
def test_the_named_set_is_in_its_standard_form():
    data = load("esol:attributes=target")
    assert [a.name for a in data.spec.attributes] == ["target"]
    chembl = load("chembl:attributes=none")
    assert chembl.spec.splits == {"train": 66536, "validation": 3868, "test": 3843}
    assert chembl.spec.sequence is not None
    texts = to_texts(chembl.spec.sequence, chembl.train.stored[::700])
    assert [standard_form(text).smiles for text in texts] == texts
