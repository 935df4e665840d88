"""The records that an attacker asks about: m training records and m held-out ones, drawn without replacement.

If a model does not depend on the training records more than on the held-out ones, both are exchangeable given the
model. Each attack then has an AUC of 1/2 in expectation, and its tests are exact.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.safeguards.audit import MIN_RECORDS, Subject


class Candidates(NamedTuple):
    """Equally many records of both kinds, and their rows (m,) in their splits."""

    members: Records
    others: Records
    member_rows: Tensor
    other_rows: Tensor


def candidates(subject: Subject) -> Candidates:
    """Draw them. Raises `DataError` for fewer than 20 records of either kind."""
    train, held_out = subject.dataset.train, subject.dataset.split(subject.split)
    m = min(len(train), len(held_out), subject.n)
    if m < MIN_RECORDS:
        raise DataError(
            f"{len(train):,} training and {len(held_out):,} held-out records are there, and {subject.n:,} are asked"
            f" for: an attack is judged by at least {MIN_RECORDS} of each."
        )
    rng = Rng(subject.seed).child("candidates")
    rows = [rng.permutation(name, 0, len(of))[:m] for name, of in (("members", train), ("others", held_out))]
    return Candidates(train.select(rows[0]), held_out.select(rows[1]), *rows)


def joined(first: Records, second: Records) -> Records:
    """The records of both, the first ones first; fields that one of them lacks are left out."""

    def both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        return None if a is None or b is None else torch.cat((a, b))

    return Records(
        first.spec,
        torch.cat((first.stored, second.stored)),
        torch.cat((first.ids, second.ids)),
        labels=both(first.labels, second.labels),
        captions=None if first.captions is None or second.captions is None else first.captions + second.captions,
        text=both(first.text, second.text),
        attributes=both(first.attributes, second.attributes),
        present=both(first.present, second.present),
    )
