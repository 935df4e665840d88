"""Canaries: what they are, how coins are guessed, which bound follows, and what refutes a claim."""

from __future__ import annotations

import pytest
import torch

import morphogen as mg
from morphogen.core.errors import UsageError
from morphogen.core.privacy import PrivacyGuarantee
from morphogen.core.rng import Rng
from morphogen.core.sequences import END, lengths, well_formed
from morphogen.data import load
from morphogen.safeguards.audit import Subject
from morphogen.safeguards.privacy import canaries
from morphogen.safeguards.privacy.claim import violation
from morphogen.safeguards.privacy.reference_models import Retrained, Retraining
from morphogen.theory.statistics import one_run
from morphogen.theory.statistics.intervals import binomial_tail
from morphogen.theory.statistics.one_run import Guesses
from tests.toys import Toys


def claim(epsilon: float) -> PrivacyGuarantee:
    return PrivacyGuarantee(epsilon, 1e-5, "record", "PLD")


def test_perfect_guesses_are_bounded_as_the_theorem_says() -> None:
    coins = torch.arange(500) % 5 < 2  # not as many of either kind
    found = canaries.bound_of(coins.double(), torch.zeros(500), coins, 1e-5)
    assert found.guesses == (Guesses(500, 500, 500), Guesses(500, 250, 250), Guesses(500, 100, 100))
    assert found.epsilon == one_run.epsilon_bound(Guesses(500, 500, 500), 1e-5, 1.0 - 0.05 / 3) > 4.5
    assert found.auc.value == 1.0 and found.blind.value == 0.5


def test_coins_that_nothing_depends_on_refute_nothing_but_at_the_stated_rate() -> None:
    alarms, trials = 0, 300
    score, coin = Rng(1).normal("score", trials, (60,)), Rng(1).integers("coin", trials, 2, (60,)).bool()
    for s, c in zip(score, coin, strict=True):
        known = canaries.guesses(s, c)
        level = 1.0 - 0.05 / len(known)
        alarms += any(one_run.p_value(g, 0.0) < 1.0 - level for g in known)
    assert binomial_tail(alarms, trials, 0.05) > 1e-3


def test_a_claim_below_the_bound_is_refuted_in_a_sentence() -> None:
    coins = torch.arange(400) % 2 == 0
    found = canaries.bound_of(coins.double(), torch.zeros(400), coins, 1e-5)
    said = violation(claim(1.0), found)
    assert said is not None
    assert "claim of epsilon 1 at delta 1e-05 is refuted: 400 of 400 guesses about 400 planted canaries" in said
    assert violation(claim(8.0), found) is None and violation(None, found) is None


def test_noise_of_the_claimed_size_keeps_its_claim_and_a_tenth_of_it_does_not() -> None:
    """The Gaussian mechanism on each coin, at epsilon 1 and delta 1e-5, over 20 runs; then with noise left out."""
    mu = 0.2682  # of epsilon 1 at delta 1e-5
    assert one_run.gaussian_epsilon(mu, 1e-5) == pytest.approx(1.0, abs=2e-3)
    refuted = {1.0: 0, 0.1: 0}
    for scale in refuted:
        for run in range(20):
            rng = Rng(run)
            coins = rng.integers("coin", 1000, 2).bool()
            seen = coins.double() + scale / mu * rng.normal("noise", 1000, (), torch.float64)
            refuted[scale] += violation(claim(1.0), canaries.bound_of(seen, torch.zeros(1000), coins, 1e-5)) is not None
    assert refuted == {1.0: 0, 0.1: 20}


@pytest.mark.parametrize(("name", "data"), [("vae", "digits"), ("rows", "breast_cancer")])
def test_canaries_are_records_of_the_data_that_no_split_holds(name: str, data: str, toy: Toys) -> None:
    family = mg.load(toy(name), "cpu").module
    dataset = load(data, like=family.data)
    subject = Subject(family, dataset)
    planted = canaries.plant(subject, 100)
    dataset.spec.check(planted.canaries.batch().x)
    known = {int(i) for records in dataset.splits.values() for i in records.ids}
    assert not known & {int(i) for i in planted.canaries.ids} and len(set(planted.canaries.ids.tolist())) == 100
    assert 20 < int(planted.coins.sum()) < 80
    seen: list[Retraining] = []

    def retrain(asked: Retraining) -> Retrained:
        seen.append(asked)
        return Retrained(family, claim(1.0))

    assert canaries.train_with(subject, planted, retrain).claim == claim(1.0)
    ids = set(seen[0].dataset.train.ids.tolist())
    assert ids == {*dataset.train.ids.tolist(), *planted.canaries.ids[planted.coins].tolist()}
    with pytest.raises(UsageError, match="at least 20 canaries"):
        canaries.plant(subject, 10)


def test_pixels_of_canaries_are_uniform_and_cells_come_from_their_columns() -> None:
    digits = load("digits").train
    made = canaries.random_records(digits, 400, Rng(0)).double()
    assert made.min() == 0 and made.max() == 16
    assert abs(float(made.mean()) - 8.0) < 4 * 4.9 / (400 * 64) ** 0.5
    rows = load("breast_cancer").train
    cells = canaries.random_records(rows, 50, Rng(0))
    for c in range(cells.shape[1]):
        assert torch.isin(cells[:, c], rows.stored[:, c]).all()
    assert not (cells[:, None] == rows.stored[None]).all(2).any()


def test_tokens_of_canaries_are_those_of_a_text_in_another_order() -> None:
    tokens = torch.tensor([[5, 6, 7, 8, 9, END, 0, 0], [3, END, 0, 0, 0, 0, 0, 0]])
    made = canaries._shuffled(tokens, Rng(0))
    assert well_formed(made).all() and torch.equal(lengths(made), lengths(tokens))
    assert torch.equal(made.sort(1).values, tokens.sort(1).values) and not torch.equal(made, tokens)
