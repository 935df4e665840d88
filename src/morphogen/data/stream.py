"""`Stream`: an endless, addressable stream of training batches, a function of (seed, step) alone.

Training sample i = step * batch_size + j belongs to epoch e = i // N and is row pi_e(i mod N), where
pi_e is a uniform random permutation drawn for (seed, e). So every epoch sees each record once, a
batch may straddle two epochs, and nothing depends on the number of processes or on what ran before.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from morphogen.core.batch import Batch
from morphogen.core.errors import DataError, UsageError
from morphogen.core.rng import Rng
from morphogen.data.records import Records


class Stream:
    """Batches of `batch_size` records over all processes, drawn without replacement within an epoch.

    Where records have several captions, the sample's index decides which of them it comes with.

    flips   mirror each picture left to right with probability 1/2, decided by the sample's index
    device  where the records are kept and the batches are made
    """

    def __init__(
        self, records: Records, batch_size: int, seed: int, flips: bool = False, device: torch.device | str = "cpu"
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"the batch size must be at least 1 (got {batch_size}).")
        if batch_size > len(records):
            raise DataError(
                f"{records.spec.name} has {len(records)} training records, fewer than one batch of {batch_size};"
                f" choose a batch size of at most {len(records)} or give more data."
            )
        if flips and not records.spec.is_picture:
            raise UsageError(f"flips mirror pictures; records of {records.spec.name} have shape {records.spec.shape}.")
        self.batch_size = batch_size
        self.records = len(records)
        self.flips = flips
        self._source = records.to(device)
        self._rng = Rng(seed)
        self._orders: dict[int, Tensor] = {}

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The contiguous share of process `rank` of `world` in the batch of `step`."""
        if self.batch_size % world or not 0 <= rank < world:
            raise UsageError(
                f"a batch of {self.batch_size} cannot be shared by {world} processes (rank {rank});"
                f" choose a batch size that {world} divides."
            )
        share = self.batch_size // world
        start = step * self.batch_size + rank * share
        index = torch.arange(start, start + share)
        epoch, at = divmod(start, self.records)
        rows = self._order(epoch)[at : at + share]
        if len(rows) < share:  # at most one epoch ends here, since a batch is no larger than an epoch
            rows = torch.cat((rows, self._order(epoch + 1)[: share - len(rows)]))
        flip = self._rng.uniform("flip", index) < 0.5 if self.flips else None
        forms = 1 if self._source.text is None else self._source.text.shape[1]
        form = self._rng.integers("caption", index, forms) if forms > 1 else None
        return self._source.batch(rows, index, flip, form)

    def passes(self, size: int = 4096) -> Iterator[Batch]:
        """All records once, in their order, so many at a time."""
        for start in range(0, self.records, size):
            end = min(start + size, self.records)
            yield self._source.batch(slice(start, end), torch.arange(start, end))

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            # Two epochs are kept: processes and replays look back across a border, never further.
            self._orders = {e: o for e, o in self._orders.items() if abs(e - epoch) == 1}
            self._orders[epoch] = self._rng.permutation("epoch", epoch, self.records)
        return self._orders[epoch]
