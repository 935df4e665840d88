"""`PoissonStream`: batches of units that each take part with the same probability, independently of each other.

A unit is a record, or all records of one group. In each step it takes part with probability q = b / U, for U units and
an expected size of b units. So batches differ in size, and one may be empty. This is the sampling that the accountant
of a private training counts on. The choice is drawn anew whenever a step is asked for, and nobody can predict it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from morphogen.core.batch import Batch
from morphogen.core.errors import DataError
from morphogen.core.strong_noise import NoiseSource
from morphogen.data.records import Records


class PoissonStream:
    """Batches of about `batch_size` units.

    groups  the name of each record's unit; None: each record is one
    copies  how often each chosen record comes in its batch, each time with another address of its noise
    """

    def __init__(
        self,
        records: Records,
        batch_size: int,
        source: NoiseSource,
        groups: Sequence[str] | None = None,
        copies: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.records, self.copies = len(records), copies
        self.units = self.records
        self._of_record: Tensor | None = None
        if groups is not None:
            places = {name: i for i, name in enumerate(dict.fromkeys(groups))}
            self._of_record, self.units = torch.tensor([places[g] for g in groups]), len(places)
        if batch_size > self.units:
            raise DataError(
                f"there are {self.units:,} units, fewer than one batch of {batch_size:,}: lower batch_size."
            )
        self.batch_size = batch_size
        self._records, self._noise = records.to(device), source

    @property
    def rate(self) -> float:
        """The probability with which a unit takes part in a step."""
        return self.batch_size / self.units

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """A new random batch, with the copies of a record one after the other."""
        chosen = self._noise.uniform(self.units) < self.rate
        if self._of_record is None:
            rows = chosen.nonzero()[:, 0]
        else:
            rows = chosen[self._of_record].nonzero()[:, 0]
            rows = rows[self._of_record[rows].argsort(stable=True)]  # the rows of a unit come together
        rows = rows.repeat_interleave(self.copies)
        copy = torch.arange(len(rows)) % self.copies
        return self._records.batch(rows, (step * self.copies + copy) * self.records + rows)

    def units_of(self, batch: Batch) -> Tensor | None:
        """(B,) int64, rising: which of its units each row belongs to; None where each row is a unit."""
        if self._of_record is None and self.copies == 1:
            return None
        rows = batch.address % self.records
        which = rows if self._of_record is None else self._of_record[rows]
        return which.unique_consecutive(return_inverse=True)[1]

    def passes(self, size: int = 4096) -> Iterator[Batch]:
        """One record of each unit, so many at a time: a unit has no more than the influence of one record.

        Where a unit has several records, one is drawn at random, the same in every pass.
        """
        rows = self._one_of_each
        for some in rows.split(size):
            yield self._records.batch(some, some)

    @cached_property
    def _one_of_each(self) -> Tensor:
        """(units,) rows, rising."""
        if self._of_record is None:
            return torch.arange(self.records)
        order = self._noise.uniform(self.records).argsort()
        first = torch.full((self.units,), self.records)
        place = torch.arange(self.records)
        first.scatter_reduce_(0, self._of_record[order], place, "amin")
        return order[first].sort().values
