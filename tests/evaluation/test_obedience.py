"""Generators that ignore their class or drop one are told, and fair ones are not."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from morphogen.core.rng import Rng
from morphogen.evaluation.alignment.alignment import _ignored
from morphogen.evaluation.metrics.obedience import obedience, sentences
from morphogen.theory.statistics.intervals import binomial_tail

NAMES = ("cat", "dog", "owl", "fox")


def draw(seed: int, n: int, classes: int = 4) -> Tensor:
    return Rng(seed).integers("class", n, classes)


def test_the_moments_by_chance_are_those_of_all_orders() -> None:
    asked, made = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([0, 1, 1, 2, 0, 0])
    shares = [float((asked == made[list(order)]).double().mean()) for order in permutations(range(6))]
    found = obedience(asked, made, 3)
    mean = sum(shares) / len(shares)
    assert found.chance == pytest.approx(mean)
    assert found.deviation == pytest.approx((sum((s - mean) ** 2 for s in shares) / len(shares)) ** 0.5)


def test_an_ignored_class_is_said_and_an_obeyed_one_is_not() -> None:
    """1,000 trials: a generator that ignores its class passes by chance in one of twenty; 78 come once in 10^3."""
    real, passed = draw(1, 400), 0
    for seed in range(1000):
        asked, made = draw(10 + 2 * seed, 300), draw(11 + 2 * seed, 300)
        passed += not obedience(asked, made, 4).ignored
    assert binomial_tail(passed, 1000, 0.05) > 1e-3 and 1.0 - binomial_tail(passed + 1, 1000, 0.05) > 1e-3
    asked = draw(5, 300)
    half = torch.where(draw(6, 300, 2) == 0, asked, draw(7, 300))  # right in five of eight
    assert sentences(asked, half, real, NAMES) == []
    (said,) = sentences(asked, draw(8, 300), real, NAMES)
    assert said.startswith("the generator ignores its class: 2") and "by chance" in said


def test_a_dropped_class_is_named() -> None:
    real, made = draw(1, 400), draw(2, 400)
    without = torch.where(made == 2, 0, made)
    (said,) = sentences(None, without, real, NAMES)
    assert said == "the generator drops a class: it makes hardly any owl."
    assert sentences(without, without, real, NAMES) == [said]
    assert sentences(None, made, real, NAMES) == [] and sentences(None, None, real, NAMES) == []
    assert sentences(None, made[:20], real, NAMES) == []  # too few to see it


def test_ignored_words_are_said_by_their_kind() -> None:
    """200 trials of a generator that ignores its words: the sentence fails to come in at most one of forty."""
    prompt, silent = torch.arange(200), 0
    for seed in range(200):
        own, others = (Rng(seed).integers(name, 200, 2).double() for name in ("own", "others"))
        silent += not _ignored("color", own, others, prompt)
    assert binomial_tail(silent, 200, 0.025) > 1e-3
    obeying = torch.ones(200).double()
    assert _ignored("color", obeying, Rng(0).integers("others", 200, 2).double(), prompt) == ()
    (said,) = _ignored("color", 0 * obeying, 0 * obeying, prompt)
    assert said.startswith("the generator ignores its words (color)")
