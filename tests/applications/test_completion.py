"""Molecules around a scaffold: drafts, marks, what comes out holds it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import morphogen as mg
from morphogen.applications import completion
from morphogen.applications.completion import Scaffold, complete
from morphogen.core.errors import CapabilityError, UsageError
from morphogen.core.rng import Rng
from morphogen.data.molecules.standard_form import molecule_of
from morphogen.data.sequences.tokenizers import tokenizer_of

pytest.importorskip("rdkit", reason="needs the extra molecules")
pytestmark = pytest.mark.filterwarnings("ignore::morphogen.MorphogenWarning")


@pytest.fixture(scope="module")
def smiles(tmp_path_factory):
    """A file of benzenes and pyridines with tails."""
    tails = ("O", "N", "C(=O)O", "OC", "CO", "C(N)=O", "F", "CC", "C", "CCO", "CCC")
    rings = ("Cc1ccc({})cc1", "Oc1cccc({})c1", "c1cc({})ccn1", "Nc1cnc({})nc1", "CCC{}", "CC(C){}")
    path = tmp_path_factory.mktemp("molecules") / "m.smi"
    path.write_text("\n".join(ring.format(tail) for ring in rings for tail in tails))
    return path


@pytest.fixture(scope="module")
def model(smiles, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "masked"
    return mg.train("masked_diffusion", str(smiles), out, steps=500, batch_size=32, seed=0, width=48, blocks=2)


@pytest.mark.parametrize("scaffold", ["c1ccncc1", "c1cc(*)ccc1*", "CC", "Oc1ccccc1"])
def test_all_that_comes_out_holds_the_scaffold(model, scaffold):
    made = model.complete(scaffold, n=12, seed=1)
    kept = molecule_of(scaffold.replace("(*)", "").replace("*", ""))
    assert len(made) == 12
    for text in made.texts:
        molecule = molecule_of(text)
        assert molecule is not None and molecule.HasSubstructMatch(kept)
        assert molecule.GetNumAtoms() > kept.GetNumAtoms()
    assert len(set(made.texts)) > 1


def test_the_first_ones_are_the_same_whatever_is_asked(model):
    assert model.complete("c1ccncc1", n=30, seed=2).texts[:5] == model.complete("c1ccncc1", n=5, seed=2).texts
    assert model.complete("c1ccncc1", n=5, seed=3).texts != model.complete("c1ccncc1", n=5, seed=2).texts


def test_a_draft_is_the_scaffold_with_hidden_branches(model):
    schema = model.data.sequence
    tokenizer, rng = tokenizer_of(schema), np.random.default_rng(0)
    for text in ("c1ccncc1", "CC(=O)O", "c1cc(*)ccc1*", "*C"):
        scaffold = Scaffold.read(text)
        for size in (8, 14, 20):
            draft = scaffold.draft(schema, size, rng)
            filled = tokenizer.text([tokenizer.tokens("C")[0] if token is None else token for token in draft])
            molecule = molecule_of(filled)  # carbons are always possible
            assert molecule is not None and molecule.HasSubstructMatch(scaffold.molecule), filled
            assert sum(token is None for token in draft) >= 1 and len(draft) <= max(size, len(text) + 12)
    marked = Scaffold.read("c1cc(*)ccc1*")
    ring = marked.molecule.GetRingInfo().AtomRings()[0]
    assert marked.marked and len(marked.places) == 2 and set(marked.places) <= set(ring)


def test_marks_bear_something(model):
    for text in model.complete("c1cc(*)ccc1*", n=10, seed=0).texts:
        molecule = molecule_of(text)
        substituted = [a for a in molecule.GetAtoms() if a.GetIsAromatic() and a.GetDegree() == 3]
        assert len(substituted) >= 2, text


@pytest.mark.parametrize(
    ("scaffold", "words"),
    [
        ("c1cc", "is no molecule"),
        ("", "is no molecule"),
        ("*", "no atom beside"),
        ("C*C", "hangs on one atom"),
        ("CC=*", "by a single bond"),
        ("CC.CO", "holds several"),
        ("FC(F)(F)F", "nothing can hang"),
        ("CI", "has read no molecule with tokens"),
        ("C" * 60, "too long"),
    ],
)
def test_scaffolds_that_cannot_be_completed_are_told(model, scaffold, words):
    with pytest.raises(UsageError, match=words):
        model.complete(scaffold, n=2)


def test_a_model_that_knows_nothing_of_it_says_so(model, monkeypatch):
    monkeypatch.setattr(completion, "EMPTY_ROUNDS", 1)
    monkeypatch.setattr(completion, "_holds", lambda text, scaffold: False)
    with pytest.raises(UsageError, match="out of 64 drafts"):
        mg.complete(model, "c1ccncc1", n=3)
    monkeypatch.undo()
    monkeypatch.setattr(completion, "ROUND", 4)
    monkeypatch.setattr(completion, "EMPTY_ROUNDS", 1)
    monkeypatch.setattr(completion, "_holds", lambda text, scaffold: next(said))
    said = iter([True] + [False] * 100)
    assert mg.complete(model, "c1ccncc1", n=3).warnings[0].startswith("1 of 3 molecules were found in 8 drafts")


def test_models_that_do_not_fill_in_are_refused(smiles, tmp_path):
    other = mg.train("autoregressive", str(smiles), tmp_path / "ar", steps=2, token_width=16, token_blocks=1)
    with pytest.raises(CapabilityError, match="complete with"):
        other.complete("c1ccncc1")
    characters = mg.train(
        "masked_diffusion", f"{smiles}:tokens=characters", tmp_path / "c", steps=2, width=16, blocks=1
    )
    with pytest.raises(UsageError, match="tokens are those of SMILES"):
        complete(characters.module, "c1ccncc1", 2, Rng(0))


def test_models_of_kekule_forms_complete_aromatic_scaffolds(smiles, tmp_path):
    source = f"{smiles}:kekule"
    model = mg.train("masked_diffusion", source, tmp_path / "m", steps=400, batch_size=32, seed=0, width=48, blocks=2)
    for text in model.complete("c1ccncc1", n=6, seed=1).texts:
        assert molecule_of(text).HasSubstructMatch(molecule_of("c1ccncc1"))
        assert "c" not in text
