"""Planted canaries: a training of the same recipe with random records, half of them in, and a bound of its epsilon.

A canary is a record of random elements, such as no natural record is, so it can be known only if it was trained on. A
fair coin decides for each whether it joins the training records. The model is trained anew by its recipe. Then an
attacker, who knows all canaries, guesses the coins: by the score of the new model less that of the audited one, which
saw none of them. Those whose difference is farthest from the middle are guessed, and nothing is said of the others. How
many guesses are right bounds epsilon from below (`theory/statistics/one_run.py`).

How many are guessed is settled before anything is seen: all, a half and a fifth. Each bound is taken at a level of
1 - 0.05 / 3, so that all of them hold together at 95 %, and the largest counts.

    pictures and points   each element uniform on its values, or drawn from the training records' own values
    tables                each cell drawn from the column, independent of the others
    sequences             the tokens of a training record in random order
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError, UsageError
from morphogen.core.family import Family
from morphogen.core.rng import Rng
from morphogen.core.sequences import lengths
from morphogen.data import Records
from morphogen.safeguards.audit import Subject
from morphogen.safeguards.privacy.candidates import joined
from morphogen.safeguards.privacy.reference_models import Retrain, Retrained, Retraining, with_train
from morphogen.safeguards.privacy.scores import Scorer, scores
from morphogen.theory.statistics import one_run, roc
from morphogen.theory.statistics.intervals import LEVEL, Estimate
from morphogen.theory.statistics.one_run import Guesses

SHARES = (1.0, 0.5, 0.2)  # of the canaries that are guessed
MIN_CANARIES = 20


class Bound(NamedTuple):
    """Lower bounds of epsilon at delta, by the best of the numbers of guesses.

    epsilon   for every mechanism; gaussian: for one that adds Gaussian noise; both together at 95 % over `guesses`
    guesses   each number of guesses with the right ones
    auc       of the canaries that were in beside those that were out
    blind     the same by the audited model alone, which saw none of them: 1/2
    """

    epsilon: float
    gaussian: float
    delta: float
    guesses: tuple[Guesses, ...]
    auc: Estimate
    blind: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        said = [{"canaries": g.m, "guesses": g.r, "right": g.v} for g in self.guesses]
        auc, blind = ({"value": e.value, "interval": list(e.interval or ())} for e in (self.auc, self.blind))
        bounds = {"epsilon": self.epsilon, "gaussian": self.gaussian, "delta": self.delta}
        return {**bounds, "guesses": said, "auc": auc, "by_the_audited_model": blind}


class Planted(NamedTuple):
    """Canaries (m,), and the coins (m,) bool that decided who joined."""

    canaries: Records
    coins: Tensor


def check_enough(count: int) -> None:
    """Raise `UsageError` for fewer canaries than a bound needs."""
    if count < MIN_CANARIES:
        raise UsageError(f"at least {MIN_CANARIES} canaries are needed for a bound (got {count}).")


def plant(subject: Subject, count: int) -> Planted:
    """Draw canaries and coins. Raises `UsageError` for fewer than 20 canaries."""
    check_enough(count)
    train, rng = subject.dataset.train, Rng(subject.seed).child("canaries")
    rows = rng.integers("record", count, len(train))
    like = train.select(rows)
    first = 1 + int(max(records.ids.max() for records in subject.dataset.splits.values()))
    canaries = replace(
        like,
        stored=random_records(train, count, rng),
        ids=torch.arange(first, first + count),
        names=None,
        paraphrases=None,
    )
    return Planted(canaries, rng.integers("coin", count, 2).bool())


def random_records(train: Records, count: int, rng: Rng) -> Tensor:
    """Stored records (count, *shape) of random elements."""
    spec, stored = train.spec, train.stored.cpu()
    if spec.kind == "sequence":
        return _shuffled(stored[rng.integers("text", count, len(stored))], rng)
    if spec.table is None and spec.is_picture and (spec.levels is not None or spec.kind == "binary"):
        levels = spec.levels or 2
        return rng.integers("element", count, levels, spec.shape).to(stored.dtype)
    flat = stored.flatten(1)
    rows = rng.integers("row of element", count, len(flat), (flat.shape[1],))
    return flat.gather(0, rows).reshape(count, *stored.shape[1:])


def _shuffled(tokens: Tensor, rng: Rng) -> Tensor:
    """The tokens (N, L) before the end in random order."""
    n = lengths(tokens)
    key = rng.uniform("order", len(tokens), tokens.shape[1:], torch.float64)
    place = torch.arange(tokens.shape[1], dtype=torch.float64)
    key = torch.where(place < n[:, None], key, place + 1.0)
    return tokens.gather(1, key.argsort(1))


def train_with(subject: Subject, planted: Planted, retrain: Retrain) -> Retrained:
    """The model of the same recipe with the canaries whose coin says so among its training records."""
    chosen = planted.canaries.select(planted.coins)
    if not 0 < len(chosen) < len(planted.coins):
        raise DataError("all coins fell alike: take more canaries, or another seed.")
    dataset = with_train(subject.dataset, joined(subject.dataset.train, chosen))
    return retrain(Retraining(dataset, "canaries", subject.seed + 1))


def bound(subject: Subject, planted: Planted, trained: Family, scorer: Scorer, delta: float) -> Bound:
    """Guess the coins by the scores of both models, and bound epsilon."""
    before, after = (scores(scorer, family, planted.canaries, subject.seed) for family in (subject.family, trained))
    return bound_of(after - before, before, planted.coins, delta)


def bound_of(difference: Tensor, before: Tensor, coins: Tensor, delta: float) -> Bound:
    """The bounds from the scores (m,) that guess, those of a model that saw no canary, and the coins (m,)."""
    known = guesses(difference, coins)
    level = 1.0 - (1.0 - LEVEL) / len(known)
    return Bound(
        max(one_run.epsilon_bound(g, delta, level) for g in known),
        max(one_run.gaussian_bound(g, delta, level) for g in known),
        delta,
        known,
        roc.auc(difference[coins], difference[~coins]),
        roc.auc(before[coins], before[~coins]),
    )


def guesses(score: Tensor, coins: Tensor) -> tuple[Guesses, ...]:
    """For each share: those farthest from the middle are guessed, to be in above it and out below it.

    The middle of the scores (m,) lies halfway between the means of their largest and of their smallest quarter.
    """
    m, ordered = len(score), score.sort().values
    quarter = max(1, m // 4)
    middle = 0.5 * (ordered[:quarter].mean() + ordered[-quarter:].mean())
    right = ((score > middle) == coins)[(score - middle).abs().argsort(descending=True, stable=True)]
    return tuple(Guesses(m, r, int(right[:r].sum())) for r in (int(share * m) for share in SHARES))
