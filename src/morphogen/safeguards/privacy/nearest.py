"""The attack of someone who sees only samples: minus the distance of a record to the nearest of them.

Distances are Euclidean in the model's units, of tables those of `evaluation/tables/encoding.py`, and of sequences the
number of places with different tokens. See Chen et al., "GAN-Leaks", 2020, and Hilprecht et al., "Monte Carlo and
reconstruction membership inference attacks", 2019.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Samples
from morphogen.core.chunks import chunks
from morphogen.core.family import require
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.evaluation.tables.distances import closest
from morphogen.evaluation.tables.encoding import Encoder
from morphogen.evaluation.tables.reference import layout_of
from morphogen.evaluation.tables.rows import Rows
from morphogen.safeguards.audit import Subject
from morphogen.theory.statistics.neighbors import nearest

CHUNK = 250
MOST_SAMPLES = 2000
_COMPARED = 1 << 26  # tokens that are compared together

Nearness = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def drawn(subject: Subject) -> Tensor:
    """Samples of the model, stored as records (M, *shape), under the conditions of training records."""
    family, train = subject.family, subject.dataset.train
    n = subject.samples or min(len(train), MOST_SAMPLES)
    sampler, rng = require(family, Samples, "sample"), Rng(subject.seed, family.device).child("audit samples")
    order = Rng(subject.seed).permutation("conditions", 0, len(train))
    parts = []
    for rows in chunks(n, CHUNK):
        cond = train.batch(order[torch.arange(rows.start, rows.stop) % len(train)]).cond
        x = sampler.sample(rows.stop - rows.start, _read(subject, cond), rng.shifted(rows.start))
        parts.append(family.data.decode(x.cpu()))
    return torch.cat(parts)


def _read(subject: Subject, cond: RawCondition | None) -> RawCondition | None:
    """As much of a condition as the model reads, on its device."""
    family = subject.family
    if cond is None or family.conditional:
        return None if cond is None else cond.to(family.device)
    return None if cond.context is None else RawCondition(context=cond.context.to(family.device))


def nearness(subject: Subject) -> Nearness:
    """(N,) minus the distance of stored records (N, *shape) to the nearest of stored samples (M, *shape)."""
    spec = subject.dataset.spec
    if spec.table is not None:
        layout = layout_of(spec.table)
        encoder = Encoder(Rows(subject.dataset.train.stored.cpu().double().numpy(), layout))

        def of_rows(records: Tensor, samples: Tensor) -> Tensor:
            x, y = (encoder.positions(Rows(s.cpu().double().numpy(), layout)) for s in (records, samples))
            return -torch.from_numpy(closest(x, y)[0])

        return of_rows
    if spec.kind in ("sequence", "discrete"):
        return lambda records, samples: -_different(records.cpu().flatten(1), samples.cpu().flatten(1))

    def of_records(records: Tensor, samples: Tensor) -> Tensor:
        x, y = (spec.encode(s.cpu()).flatten(1) for s in (records, samples))
        return -nearest(x, y)[0]

    return of_records


def _different(x: Tensor, y: Tensor) -> Tensor:
    """The least number of places (N,) where x (N, L) differs from one of y (M, L)."""
    size = max(1, _COMPARED // max(1, y.numel()))
    parts = [(x[rows, None] != y).sum(2).min(1).values for rows in chunks(len(x), size)]
    return torch.cat(parts).double()


def with_copies(samples: Tensor, planted: Records) -> Tensor:
    """The samples with copies of records in the place of the first ones."""
    return torch.cat((planted.stored.cpu().to(samples.dtype), samples[len(planted) :]))
