r"""The likelihood ratio with reference models: a record is suspect if the model knows it better than others know it.

Some records are easy for every model. K reference models of the same recipe tell how easy: each is trained on a random
half of all training and held-out records, and every two of them on complementary halves, so that each record is unknown
to K / 2 of them. With s(x) the model's own score and s_k those of the references that did not see x,

    ratio(x) = s(x) - mean_k s_k(x),    log LR(x, z) = ratio(x) - ratio(z),

and RMIA calls x a member if LR(x, z) >= 1 for a large share of records z (Zarifzadeh, Liu and Shokri, "Low-cost
high-power membership inference attacks", 2024, its offline form). With the same z for every x that share rises with
ratio(x) and ends at 1, so ratio(x) itself is the score here: it orders the records alike, also the surest ones. The
mean is taken of logarithms, since likelihoods of pictures differ by hundreds of nats, and a mean of likelihoods would
be that of one reference.

The halves are drawn without a look at who was trained on, so members and others stay exchangeable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import UsageError
from morphogen.core.family import Family
from morphogen.core.privacy import PrivacyGuarantee
from morphogen.core.rng import Rng
from morphogen.data import Dataset, Records
from morphogen.data.prepare import fingerprint
from morphogen.safeguards.audit import Subject
from morphogen.safeguards.privacy.candidates import Candidates, joined
from morphogen.safeguards.privacy.scores import Scorer, scores


@dataclass(frozen=True)
class Retraining:
    """A training by the recipe of the model.

    dataset  its records
    name     which one it is, such as "reference-0"; what is there already under this name goes on
    seed     of the training
    """

    dataset: Dataset
    name: str
    seed: int


@dataclass(frozen=True)
class Retrained:
    """What a training gave: the model, and what it promises about privacy."""

    family: Family
    claim: PrivacyGuarantee | None = None


Retrain = Callable[[Retraining], Retrained]


class Reference(NamedTuple):
    """A reference model, and which training and held-out records (N,), (M,) bool it saw."""

    family: Family
    saw_train: Tensor
    saw_held_out: Tensor


def check_pairs(count: int) -> None:
    """Raise `UsageError` for an odd number of reference models."""
    if count < 2 or count % 2:
        raise UsageError(
            f"reference models come in pairs, one for each half of the records: give 2, 4, ... of them (got {count})."
        )


def references(subject: Subject, count: int, retrain: Retrain) -> list[Reference]:
    """Train `count` reference models on complementary halves. Raises `UsageError` for an odd number."""
    check_pairs(count)
    train, held_out = subject.dataset.train, subject.dataset.split(subject.split)
    found = []
    for k in range(count):
        rng = Rng(subject.seed).child("references")
        saw = [
            (rng.permutation(name, k // 2, len(of)) < len(of) // 2) ^ bool(k % 2)
            for name, of in (("train", train), ("held out", held_out))
        ]
        chosen = joined(train.select(saw[0]), held_out.select(saw[1]))
        training = Retraining(with_train(subject.dataset, chosen), f"reference-{k}", subject.seed + 1 + k)
        found.append(Reference(retrain(training).family, *saw))
    return found


def with_train(dataset: Dataset, train: Records) -> Dataset:
    """The data with other training records, described as those were: ranges, classes and tokenizers stay."""
    splits = {**dataset.splits, "train": train}
    spec = dataset.spec.replace(
        splits={name: len(records) for name, records in splits.items()}, fingerprint=fingerprint(splits)
    )
    return Dataset(spec, {name: replace(records, spec=spec) for name, records in splits.items()})


def ratios(
    subject: Subject, of: Candidates, scorer: Scorer, own: tuple[Tensor, Tensor], models: Sequence[Reference]
) -> tuple[Tensor, Tensor]:
    """The attack's scores of training and of held-out records, from the model's `own` scores of them."""
    sides = (
        (own[0], of.members, [model.saw_train[of.member_rows] for model in models]),
        (own[1], of.others, [model.saw_held_out[of.other_rows] for model in models]),
    )
    member, other = (_ratio(score, records, saw, subject, scorer, models) for score, records, saw in sides)
    return member, other


def _ratio(
    own: Tensor,
    records: Records,
    saw: Sequence[Tensor],
    subject: Subject,
    scorer: Scorer,
    models: Sequence[Reference],
) -> Tensor:
    total, count = torch.zeros_like(own), torch.zeros_like(own)
    for known, model in zip(saw, models, strict=True):
        total += torch.where(known, 0.0, scores(scorer, model.family, records, subject.seed))
        count += (~known).double()
    return own - total / count
