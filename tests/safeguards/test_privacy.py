"""Attacks are calibrated: they find nobody where nobody was trained on, and everybody that was memorized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch

import morphogen as mg
from morphogen.core import registry
from morphogen.core.batch import Batch
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.core.family import Family, Player, Progress, Step
from morphogen.core.rng import Noise, Rng
from morphogen.core.spec import Spec
from morphogen.data import Dataset, Records, load
from morphogen.safeguards.audit import Subject
from morphogen.safeguards.privacy import controls, nearest
from morphogen.safeguards.privacy.candidates import candidates, joined
from morphogen.safeguards.privacy.check import PrivacyCheck
from morphogen.safeguards.privacy.reference_models import Retrained, Retraining, ratios, references, with_train
from morphogen.safeguards.privacy.scores import own_score, scores
from morphogen.theory.statistics import roc
from tests.toys import Toys

DATA = {"vae": "digits", "mlp": "digits", "gan": "digits", "rows": "breast_cancer"}


def loaded(toy: Toys, name: str) -> tuple[Family, Dataset]:
    family = mg.load(toy(name), "cpu").module
    return family, load(DATA.get(name, "digits"), like=family.data)


def unseen(dataset: Dataset) -> Dataset:
    """Both halves of the test split in the place of training and held-out records."""
    test = dataset.split("test")
    order = Rng(0).permutation("unseen", 0, len(test))
    half = len(test) // 2
    splits = {"train": test.select(order[:half]), "test": test.select(order[half:])}
    return Dataset(dataset.spec.replace(fingerprint="another"), splits)


@pytest.mark.parametrize("name", ["vae", "mlp", "gan", "rows"])
def test_a_model_that_never_saw_the_records_gives_nobody_away(
    name: str, toy: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "ROUNDS", 1)  # the planted copies have a test of their own
    family, dataset = loaded(toy, name)
    found = PrivacyCheck()(Subject(family, unseen(dataset), samples=200))
    attacks = [r for r in found.results if r.name.startswith("membership")]
    assert len(attacks) == 2 and len(found.results) == (4 if name == "rows" else 2)
    for result in attacks:
        assert result.interval is not None
        assert result.details["p_value"] > 1e-3
        assert result.interval[0] - 0.03 <= 0.5 <= result.interval[1] + 0.03  # -+ 2.6 deviations
        assert not any("tells training records" in warning for warning in result.warnings)
    assert attacks[1].baselines["planted copies"] > 0.95
    assert "fingerprint differs" in found.notes[0]
    assert set(found.curves) == {r.name for r in attacks}


@pytest.mark.parametrize("name", ["vae", "rows", "pixels"])
def test_memorized_records_are_found(name: str, toy: Toys) -> None:
    """By a copy of the model that goes on training on some records alone; the model itself is unchanged."""
    family, dataset = loaded(toy, name)
    before = {key: value.clone() for key, value in family.state_dict().items()}
    own = own_score(family)
    assert own is not None
    assert controls.planted(family, own[1], dataset.split("test").select(slice(0, 72)), 0).value > 0.95
    assert all(torch.equal(value, before[key]) for key, value in family.state_dict().items())
    assert not any(p.requires_grad for p in family.parameters())


def test_memorized_records_are_denoised_better() -> None:
    digits, kind = load("digits"), registry.family("diffusion")
    with Rng(0).forked():
        family = kind(kind.Spec.parse({"backbone": "mlp", "hidden": (128, 128)}), digits.spec, {})
    own = own_score(family)
    assert own is not None
    assert controls.planted(family, own[1], digits.split("test").select(slice(0, 72)), 0).value > 0.95


def test_a_model_that_gives_out_its_training_rows_is_found(toy: Toys) -> None:
    family, dataset = loaded(toy, "rows")
    subject = Subject(family, dataset, n=100)
    of, near = candidates(subject), nearest.nearness(Subject(family, dataset))
    copies = dataset.train.stored
    member, other = (near(records.stored, copies) for records in (of.members, of.others))
    assert roc.auc(member, other).value > 0.95 and float(member.max()) == 0.0


def test_distances_of_sequences_count_places() -> None:
    x, y = torch.tensor([[3, 4, 2, 0], [5, 5, 5, 2]]), torch.tensor([[3, 4, 5, 2], [3, 3, 2, 0]])
    assert nearest._different(x, y).tolist() == [1.0, 2.0]


def test_scores_are_those_of_the_record_whatever_is_scored_beside_it(toy: Toys) -> None:
    family, dataset = loaded(toy, "mlp")
    own = own_score(family)
    assert own is not None and own[0] == "denoising"
    whole = scores(own[1], family, dataset.split("test").select(slice(0, 20)), 0)
    part = scores(own[1], family, dataset.split("test").select(slice(0, 7)), 0)
    torch.testing.assert_close(whole[:7], part, rtol=1e-5, atol=1e-6)


def test_candidates_are_equally_many_and_drawn_without_replacement(toy: Toys) -> None:
    family, dataset = loaded(toy, "vae")
    of = candidates(Subject(family, dataset, n=50))
    assert len(of.members) == len(of.others) == 50
    assert len(set(of.members.ids.tolist())) == 50 and torch.equal(dataset.train.ids[of.member_rows], of.members.ids)
    with pytest.raises(DataError, match="at least 20 of each"):
        candidates(Subject(family, dataset, n=5))
    with pytest.raises(UsageError, match="another split"):
        Subject(family, dataset, split="train")


# ------------------------------------------------------------------ reference models


class Knowing(Family):
    """A family whose score of a record is the mean of its elements, plus 10 if the record is known."""

    name, capabilities = "knowing", frozenset()

    def __init__(self, data: DataSpec, known: Records | None) -> None:
        super().__init__(Spec(), data)
        self.known = set() if known is None else {int(i) for i in known.ids}

    def players(self) -> Mapping[str, Player]:
        return {}

    def networks(self) -> Mapping[str, torch.nn.Module]:
        return {}

    def steps(self, batch: Batch, rng: Noise, at: Progress) -> Iterator[Step]:
        yield from ()


def of_known(model: Family, records: Records) -> torch.Tensor:
    assert isinstance(model, Knowing)
    seen = torch.tensor([int(i) in model.known for i in records.ids])
    return records.stored.flatten(1).double().mean(1) + 10.0 * seen


def test_a_ratio_removes_what_every_model_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The score alone is mostly how easy a record is; the ratio leaves what only this model knows."""
    dataset = load("digits")
    trained_on: list[Records] = []

    def retrain(asked: Retraining) -> Retrained:
        trained_on.append(asked.dataset.train)
        return Retrained(Knowing(dataset.spec, asked.dataset.train))

    target = Knowing(dataset.spec, dataset.train)
    subject = Subject(target, dataset, n=100)
    module = "morphogen.safeguards.privacy.reference_models.scores"
    monkeypatch.setattr(module, lambda scorer, family, records, seed: of_known(family, records))
    models, of = references(subject, 4, retrain), candidates(subject)
    own = of_known(target, of.members), of_known(target, of.others)
    member, other = ratios(subject, of, lambda *given: torch.zeros(1), own, models)
    assert roc.auc(member, other).value == 1.0
    for first, second in ((0, 1), (2, 3)):
        ids = [set(trained_on[k].ids.tolist()) for k in (first, second)]
        assert not ids[0] & ids[1] and ids[0] | ids[1] == {*dataset.train.ids.tolist(), *dataset.test.ids.tolist()}  # type: ignore[union-attr]
    nobody = Knowing(dataset.spec, None)
    own = of_known(nobody, of.members), of_known(nobody, of.others)
    member, other = ratios(subject, of, lambda *given: torch.zeros(1), own, models)
    assert roc.auc(member, other).value == 0.5
    with pytest.raises(UsageError, match="come in pairs"):
        references(subject, 3, retrain)


def test_data_with_other_training_records_are_other_data() -> None:
    dataset = load("digits")
    train, test = dataset.train, dataset.split("test")
    found = with_train(dataset, joined(train, test.select(slice(0, 5))))
    assert len(found.train) == len(train) + 5 == found.spec.splits["train"]
    assert found.spec.fingerprint != dataset.spec.fingerprint
    alike = {"fingerprint": "", "splits": {}}
    assert found.spec.replace(**alike) == dataset.spec.replace(**alike)
