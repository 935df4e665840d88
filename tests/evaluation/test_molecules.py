"""Measures of drawn molecules: exact on small sets, and what their baselines are known to give."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from morphogen.core.errors import DataError, UsageError
from morphogen.data.molecules.alerts import REFUSED, alerts, passes_filters, refusals
from morphogen.data.molecules.edits import neighbor
from morphogen.data.molecules.similarity import fingerprints, mean_similarities, nearest, tanimoto
from morphogen.data.molecules.standard_form import canonical, molecule_of
from morphogen.evaluation.molecules.baselines import characters, copies, neighbors, random_selfies
from morphogen.evaluation.molecules.judge import judge_molecules
from morphogen.evaluation.molecules.measures import MEASURES, Molecules, cosine, wasserstein

pytest.importorskip("rdkit", reason="needs the extra molecules")
TRAIN = [
    canonical(f"{'C' * a}{b}") for a in range(1, 9) for b in ("O", "N", "c1ccccc1", "C(=O)O", "OC", "C1CC1", "NC(C)=O")
]
TRAIN = [text for text in dict.fromkeys(TRAIN) if text]
HELD_OUT = ["CCCCCCCCCCO", "CC(C)c1ccccc1", "CC(N)C(=O)O", "CCOCC", "C1CCCC1", "CCSC"] * 5
PLAIN = tuple(name for name in MEASURES if name != "fcd")


def test_shares_are_counted_over_what_was_drawn():
    made = ["CCO", "OCC", "C1CC", "CCBr", "", "CCCl", "CCCl", "CCI"]
    found = judge_molecules(made, TRAIN, HELD_OUT, measures=["valid", "unique", "novel", "product"], baselines=[])
    assert {k: r.value for k, r in found.items()} == {"valid": 6 / 8, "unique": 4 / 6, "novel": 3 / 4, "product": 3 / 8}
    for result in found.values():
        low, high = result.interval or (1, 0)
        assert low < result.value < high
    product = found["valid"].value * found["unique"].value * found["novel"].value
    assert found["product"].value == pytest.approx(product)


def test_training_molecules_are_perfect_but_for_novelty():
    found = judge_molecules(TRAIN, TRAIN, TRAIN, measures=PLAIN, baselines=[])
    assert found["valid"].value == 1.0 and found["novel"].value == 0.0 and found["product"].value == 0.0
    assert found["snn"].value == pytest.approx(1.0) and found["fragments"].value == pytest.approx(1.0)
    assert found["scaffolds"].value == pytest.approx(1.0)
    for name in ("qed", "logp", "sa", "mol_wt"):
        assert found[name].value == pytest.approx(0.0, abs=1e-12) and found[name].better == "lower"


def test_distances_of_samples_equal_an_independent_implementation():
    rng = np.random.default_rng(0)
    for n, m in ((5, 9), (40, 40), (100, 7)):
        a, b = rng.normal(size=n).round(1), rng.normal(1, 2, size=m).round(1)
        assert wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b))
    assert cosine(Counter("aab"), Counter("aab")) == pytest.approx(1.0) and cosine(Counter("a"), Counter("b")) == 0.0


def test_similarity_is_the_share_of_common_bits():
    from rdkit import DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    made = TRAIN[:12]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    theirs = [generator.GetFingerprint(molecule_of(s)) for s in made]
    ours = tanimoto(fingerprints(made), fingerprints(made))
    assert np.allclose(ours, [[DataStructs.TanimotoSimilarity(a, b) for b in theirs] for a in theirs], atol=1e-6)
    best, where = nearest(fingerprints(made[3:5]), fingerprints(made))
    assert where.tolist() == [3, 4] and np.allclose(best, 1.0)
    off = ours.copy()
    np.fill_diagonal(off, 0)
    assert np.allclose(mean_similarities(fingerprints(made)), off.sum(1) / 11, atol=1e-6)
    with pytest.raises(DataError, match="no molecule"):
        fingerprints(["C1CC"])


def test_diversity_of_equal_molecules_is_zero_and_bad_names_are_told():
    found = judge_molecules(["CCO"] * 4, TRAIN, HELD_OUT, measures=["diversity"], baselines=[])
    assert found["diversity"].value == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(UsageError, match="novel"):
        judge_molecules(["CCO"], TRAIN, HELD_OUT, measures=["novell"])
    with pytest.raises(UsageError, match="copies"):
        judge_molecules(["CCO"], TRAIN, HELD_OUT, baselines=["copy"])
    with pytest.raises(DataError, match="at least one"):
        judge_molecules([], TRAIN, HELD_OUT)
    with pytest.raises(DataError, match="2 molecules"):
        judge_molecules(["CCO"], TRAIN, HELD_OUT, measures=["diversity"], baselines=[])


def test_baselines_are_what_they_are_called():
    assert all(text in TRAIN for text in copies(TRAIN, 30, 0)) and copies(TRAIN, 5, 1) == copies(TRAIN, 5, 1)
    changed = neighbors(TRAIN, 30, 0)
    assert all(molecule_of(text) is not None for text in changed) and sum(text in TRAIN for text in changed) < 20
    grams = characters(TRAIN, 100, 0)
    assert all(len(text) <= 300 for text in grams) and len(set(grams)) > 10
    for text in grams:
        assert any(text[:9] == known[:9] for known in TRAIN), "a 10-gram begins as a training molecule does"
    pytest.importorskip("selfies")
    assert np.mean([molecule_of(text) is not None for text in random_selfies(TRAIN, 60, 0)]) > 0.95


def test_a_neighbor_is_one_edit_away():
    rng = np.random.default_rng(0)
    for start in ("CCO", "c1ccccc1C", "CC(=O)Nc1ccccc1"):
        a = molecule_of(start)
        for _ in range(20):
            b = molecule_of(neighbor(start, rng))
            assert a is not None and b is not None and abs(a.GetNumAtoms() - b.GetNumAtoms()) <= 1
    with pytest.raises(DataError):
        neighbor("C1CC", rng)


@pytest.mark.parametrize(
    ("smiles", "word"),
    [
        ("CC(C)OP(C)(=O)F", "fluoride"),
        ("CCOP(C)(=O)SCCN(C(C)C)C(C)C", "phosphonothiolate"),
        ("CCOP(=O)(C#N)N(C)C", "cyanidate"),
        ("ClCCSCCCl", "sulfur mustard"),
        ("CN(CCCl)CCCl", "nitrogen mustard"),
        ("Cl[As](Cl)C=CCl", "lewisite"),
        ("CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1", "fentanyl"),
        ("CN1CCC23C4C1Cc1ccc(O)c(c12)OC3C(O)C=C4", "morphinan"),
    ],
)
def test_known_members_of_refused_classes_are_found(smiles, word):
    assert any(word in name for name in refusals(molecule_of(smiles)))


def test_common_drugs_are_not_refused_and_alerts_are_named():
    for smiles in (
        "CC(=O)Oc1ccccc1C(=O)O",
        "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
        "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
        "CCOP(=O)(OCC)OCC",
    ):
        assert not refusals(molecule_of(smiles))
    assert REFUSED and refusals(molecule_of("CCO")) == []
    assert any("Brenk" in alert for alert in alerts(molecule_of("CC(=O)Oc1ccccc1C(=O)O")))
    assert passes_filters(["CCO", "O=[N+]([O-])c1ccccc1", "C1CC"]) == [True, False, False]


def test_fcd_of_equal_sets_is_about_zero_and_grows_with_the_difference():
    pytest.importorskip("fcd_torch", reason="needs the extra fcd")
    from morphogen.evaluation.molecules import chemnet

    found = chemnet.features(["CCO", "OCC", "c1ccccc1"])
    assert found.shape == (3, 512) and np.allclose(found[0], found[1]) and not np.allclose(found[0], found[2])
    assert chemnet.name().startswith("ChemNet-")
    with pytest.raises(DataError, match="molecules"):
        judge_molecules(["CCO"] * 10, TRAIN, HELD_OUT, measures=["fcd"], baselines=[])


def test_properties_and_counts_are_computed_once():
    some = Molecules(["CCO", "C1CC", "c1ccccc1CC"])
    assert some.canonical == ["CCO", "CCc1ccccc1"] and some.properties.shape == (2, 4)
    assert some.scaffolds == [[], ["c1ccccc1"]] and some.fragments is some.fragments
