"""Design: wants, an oracle whose calls are counted and kept, three searches, and what is written."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch

import morphogen as mg
from morphogen.applications.design import searching
from morphogen.applications.design.designing import choose_method, design
from morphogen.applications.design.oracle import CALLS, Answer, CountedOracle, Exhausted
from morphogen.applications.design.wants import Want, read_wants, score
from morphogen.core.errors import CapabilityError, DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.data import load
from morphogen.data.molecules.edits import variant
from morphogen.data.molecules.properties import compute
from morphogen.data.molecules.standard_form import molecule_of
from morphogen.families.autoencoder import Autoencoder, AutoencoderSpec

pytest.importorskip("rdkit", reason="needs the extra molecules")
TINY = {"token_width": 32, "token_blocks": 1}


@pytest.fixture(scope="module")
def smiles(tmp_path_factory):
    """A file of small molecules with rings, branches and heteroatoms."""
    tails = ("O", "N", "C(=O)O", "OC", "C1CC1", "c1ccccc1", "C(N)=O", "F", "S", "C#N")
    path = tmp_path_factory.mktemp("molecules") / "m.smi"
    path.write_text("\n".join(f"{'C' * a}{b}" for a in range(1, 13) for b in tails))
    return path


@pytest.fixture(scope="module")
def model(smiles, tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "ar"
    return mg.train("autoregressive", str(smiles), out, steps=150, batch_size=32, seed=0, **TINY)


def test_wants_are_intervals_and_their_score_is_a_geometric_mean():
    wants = read_wants("qed>=0.9, logp in 2..3, sa<=3, sa>=1")
    assert [(w.name, w.low, w.high) for w in wants] == [
        ("qed", 0.9, math.inf),
        ("logp", 2.0, 3.0),
        ("sa", 1.0, 3.0),
    ]
    assert score(wants, {"qed": 0.95, "logp": 2.5, "sa": 2.0}) == 1.0
    one = Want("qed", 0.9, math.inf)
    assert one.desirability(0.7) == pytest.approx(math.exp(-1.0)) and one.desirability(math.nan) == 0.0
    assert score(wants[:2], {"qed": 0.7, "logp": 2.5}) == pytest.approx(math.exp(-0.5))
    assert one.is_met(0.9) and not one.is_met(0.89)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("qed>=0.9, qed<=0.5", "contradict"),
        ("logp in 3..2", "contradict"),
        ("beauty>=1", "beauty"),
        ("oracle>=1", "oracle"),
        ("qed", "such as"),
        ("qed=>0.9", "such as"),
    ],
)
def test_wants_that_make_no_sense_are_refused_in_words(text, words):
    with pytest.raises(UsageError, match=words):
        read_wants(text)


def test_a_call_is_a_molecule_that_is_new():
    oracle = CountedOracle(read_wants("n_heavy>=3"), 3)
    assert oracle(["CCO", "OCC", "C1CC", ""])[:2] == [1.0, 1.0] and oracle.calls == 1
    oracle(["CC", "CCC"])
    assert oracle.calls == 3
    assert oracle(["CCO"]) == [1.0]
    with pytest.raises(Exhausted):
        oracle(["CCCC"])
    assert oracle.best[0].smiles in ("CCO", "CCC")


def test_what_is_refused_or_lacks_the_scaffold_costs_no_call():
    oracle = CountedOracle(read_wants("n_heavy>=3"), 9, keep="c1ccccc1")
    assert oracle(["CCO", "CN(CCCl)CCCl", "c1ccccc1N(CCCl)CCCl"]) == [0.0, 0.0, 0.0] and oracle.calls == 0
    assert list(oracle.refused) == ["ClCCN(CCCl)c1ccccc1"]
    assert oracle(["Cc1ccccc1"]) == [1.0] and oracle.calls == 1
    free = CountedOracle(read_wants("n_heavy>=3"), 9, safety=False)
    assert free(["CN(CCCl)CCCl"]) == [1.0] and not free.refused
    with pytest.raises(UsageError, match="neither SMILES nor SMARTS"):
        CountedOracle((), 9, keep="c1cc")


ORACLE = """
import time
def count(smiles): return float(smiles.count("C"))
def broken(smiles):
    if smiles == "CC": raise ValueError("no such compound")
    if smiles == "CCC": return float("nan")
    if smiles == "CCCC": time.sleep(60)
    return 1.0
def word(smiles): return "much"
"""


def test_an_oracle_of_ones_own_may_raise_give_nan_or_hang(tmp_path, monkeypatch):
    (tmp_path / "mine_for_design.py").write_text(ORACLE)
    monkeypatch.chdir(tmp_path)
    oracle = CountedOracle((), 20, function="mine_for_design:broken", seconds=1.5)
    try:
        assert oracle(["C", "CC", "CCC", "CCCC", "CCCCC"]) == [1.0, 0.0, 0.0, 0.0, 1.0]
        assert {a.smiles: a.error for a in oracle.failures} == {
            "CC": "ValueError: no such compound",
            "CCC": "oracle is no number",
            "CCCC": "took more than 1.5 s",
        }
        assert oracle.calls == 5, "a call that failed is a call"
    finally:
        oracle.close()
    with pytest.raises(UsageError, match="module:function"):
        CountedOracle((), 9, function="mine_for_design")
    with pytest.raises(UsageError, match="absent"):
        CountedOracle((), 9, function="mine_for_design:absent")


def test_answers_are_kept_and_not_asked_again(tmp_path):
    file = tmp_path / CALLS
    first = CountedOracle(read_wants("n_heavy>=3"), 10, file=file)
    first(["CCO", "CC"])
    with file.open("a") as out:
        out.write('{"smiles": "CCN", "val')  # the process was killed here
    second = CountedOracle(read_wants("n_heavy>=3"), 10, file=file)
    monkey = []
    second._ask = lambda smiles: monkey.append(smiles)  # type: ignore[assignment, method-assign]
    assert second(["CCO", "CC"]) == first(["CCO", "CC"]) and not monkey and second.calls == 2
    assert len(file.read_text().splitlines()) == 3
    third = CountedOracle(read_wants("n_heavy>=3"), 10, file=file)
    assert third(["CCS"]) == [1.0]
    assert CountedOracle(read_wants("n_heavy>=3"), 10, file=file)._known.keys() == {"CCO", "CC", "CCS"}


def test_tuning_moves_a_model_towards_the_score_and_resumes(model, smiles, tmp_path):
    before = compute(["n_heavy"], model.sample(100, seed=5).texts)[:, 0]
    found = mg.design(model, "n_heavy>=12", tmp_path / "d", calls=60, seed=1, data=str(smiles))
    assert found.method == "tuning" and found.calls[0] <= 60 and len(found.curve) == found.calls[0]
    assert all(a <= b for (a, _), (b, _) in zip(found.curve, found.curve[1:], strict=False)), "the best never falls"
    assert found.molecules[0].values["n_heavy"] >= np.nanmean(before)
    rows = list(csv.DictReader((tmp_path / "d" / "molecules.csv").open()))
    assert len(rows) == len(found) and rows[0]["smiles"] == found.molecules[0].smiles
    assert float(rows[0]["similarity_to_it"]) <= 1.0 and rows[0]["nearest_known"]
    assert "<svg" in (tmp_path / "d" / "report.html").read_text()
    for name in ("structures.svg", "design.json", "failures.csv", CALLS):
        assert (tmp_path / "d" / name).exists()
    answers = (tmp_path / "d" / CALLS).read_text()
    (tmp_path / "d" / CALLS).write_text("".join(answers.splitlines(keepends=True)[:20]))
    again = mg.design(model, "n_heavy>=12", tmp_path / "d", calls=60, seed=1, data=str(smiles))
    assert [m.smiles for m in again] == [m.smiles for m in found], "it ends as if it had never stopped"


def test_neighbors_meet_what_is_wanted_and_stay_similar(model):
    found = mg.design(
        model, "n_heavy in 9..10", calls=150, method="neighbors", similar_to=("CCc1ccccc1", 0.3), data=["CCO"]
    )
    assert found.met >= 1 and found.molecules[0].met
    best = molecule_of(found.molecules[0].smiles)
    assert best is not None and 9 <= best.GetNumAtoms() <= 10
    assert found.molecules[0].values["similarity"] >= 0.3 and found.molecules[0].nearest == "CCO"


def test_latents_of_a_model_that_encodes_are_searched(smiles):
    """Of an untrained model whose every text is a molecule (SELFIES), with weights that make texts differ."""
    pytest.importorskip("cma", reason="needs the extra molecules")
    pytest.importorskip("selfies", reason="needs the extra molecules")
    data = load(f"{smiles}:tokens=selfies,attributes=none").spec
    with Rng(0).forked():
        family = Autoencoder(AutoencoderSpec.parse({"text_width": 32, "text_blocks": 1, "text_latents": 6}), data)
        for p in family.parameters():
            p.data.add_(0.5 * torch.randn_like(p))
    family.eval().requires_grad_(False)
    assert choose_method(family, None) == "latents"
    with pytest.raises(CapabilityError, match="likelihood"):
        choose_method(family, "tuning")
    found = []
    for _ in range(2):
        oracle = CountedOracle(read_wants("n_heavy in 6..7"), 40)
        curve = design(family, oracle, "latents", 3, None)
        assert 10 < oracle.calls <= 40 and len(curve) == oracle.calls
        assert curve[-1][0] > curve[0][0] or curve[0][0] == 1.0
        found.append([answer.smiles for answer in oracle.best])
    assert found[0] == found[1], "a search is a function of its seed"


def test_what_cannot_be_designed_is_said(model, tmp_path):
    with pytest.raises(UsageError, match="nothing is wanted"):
        mg.design(model)
    with pytest.raises(UsageError, match="no molecule"):
        mg.design(model, "qed>=0.5", similar_to=("C1CC", 0.4))
    with pytest.raises(UsageError, match="neighbors"):
        mg.design(model, "qed>=0.5", method="neighbours")
    with pytest.raises(CapabilityError, match="latents"):
        mg.design(model, "qed>=0.5", method="latents")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        mg.design(model, "qed>=0.5", tmp_path / "file", calls=2)


def test_the_best_of_each_scaffold_are_learned_again():
    scored = (("Cc1ccccc1", 0.9), ("Nc1ccccc1", 0.8), ("C1CC1", 0.7), ("C", 0.0))
    answers = [Answer(smiles, {}, score) for smiles, score in scored]
    assert searching._of_each_scaffold(answers, 5) == [("Cc1ccccc1", 0.9), ("C1CC1", 0.7)]
    assert searching._of_each_scaffold(answers, 1) == [("Cc1ccccc1", 0.9)]


def test_models_of_kekule_forms_read_what_the_oracle_says(smiles):
    data = load(f"{smiles}:kekule").spec
    x, kept = searching.records_of(["Cc1ccccc1", "CI"], data)
    assert kept == [0]
    assert searching.smiles_of(x, data) == ["CC1=CC=CC=C1"]


def test_variants_are_molecules_that_differ_by_an_edit_or_a_substituent():
    rng = np.random.default_rng(0)
    start = "COc1ccc(CC(=O)N2CCCC2)cc1"
    made = {variant(start, rng) for _ in range(80)}
    sizes = [molecule_of(text).GetNumAtoms() for text in made]
    assert start not in made and len(made) > 40 and all("." not in text for text in made)
    assert min(sizes) < 14 and max(sizes) > 16  # of 16 atoms
    assert {variant("C", rng) for _ in range(20)} > {"CC"}
    with pytest.raises(DataError, match="no molecule"):
        variant("c1cc", np.random.default_rng(2))
