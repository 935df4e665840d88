"""The guarantee of privacy that an artifact states."""

import math
from pathlib import Path

import pytest

from morphogen import api, artifact
from morphogen.core import registry
from morphogen.core.errors import ArtifactError
from morphogen.core.privacy import PrivacyGuarantee, Spending
from morphogen.core.rng import Rng
from tests.artifact.stored_models import DATA

PROMISE = PrivacyGuarantee(
    epsilon=1.0,
    delta=1e-5,
    unit="patient",
    accountant="PLD",
    ledger=(Spending(what="training", epsilon=1.0, delta=1e-5, noise=0.8, rate=0.01, rounds=100),),
    public=("the number of units",),
    not_covered=("the time that training takes",),
)


def _stored(root: Path, privacy: object) -> Path:
    kind = registry.family("vae")
    with Rng(0).forked():
        family = kind(kind.Spec.parse({"hidden": (8,), "latent_dim": 2}), DATA, {})
    return artifact.save(root, family, recipe={"steps": 5}, provenance={"complete": True, "privacy": privacy})


def test_a_guarantee_comes_back_and_is_told(tmp_path: Path) -> None:
    model = _stored(tmp_path / "m", PROMISE.to_dict())
    shown = api.describe(model)
    assert shown.privacy == PROMISE
    told = shown.to_dict()["privacy"]
    assert (told["epsilon"], told["delta"], told["unit"], told["accountant"]) == (1.0, 1e-5, "patient", "PLD")
    sentence = told["sentence"]
    assert "all records with one value of 'patient'" in sentence and f"{math.e:.4g}" in sentence
    assert "1e-05" in sentence and "the number of units" in sentence and "NOT FOR RELEASE" not in sentence
    assert "## Privacy" in (model / "card.md").read_text() and "| training | 1 |" in (model / "card.md").read_text()
    seeded = PrivacyGuarantee(1.0, 1e-5, "record", "PLD", release=False)
    assert "NOT FOR RELEASE" in seeded.sentence() and "one record" in seeded.sentence()


def test_other_models_state_none(tmp_path: Path) -> None:
    model = _stored(tmp_path / "m", None)
    assert api.describe(model)["privacy"] is None and "## Privacy" not in (model / "card.md").read_text()


@pytest.mark.parametrize("wrong", [{"epsilon": -1.0, "delta": 0.0, "accountant": "PLD"}, {"epsilon": 1.0}, [1.0]])
def test_a_damaged_guarantee_is_no_guarantee(wrong: object) -> None:
    with pytest.raises(ArtifactError, match="guarantee of privacy"):
        PrivacyGuarantee.stored({"privacy": wrong})
