"""The real rows that synthetic rows are judged by, and the scales that depend only on real rows.

Fidelity and utility are judged by held-out rows, so a model gains nothing by repeating its training rows, and training
rows serve as a fresh real sample: the floor. Privacy is judged by training rows beside as many held-out ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from morphogen.core.errors import DataError, MorphogenError, UsageError
from morphogen.data import Dataset
from morphogen.evaluation.context import cache
from morphogen.evaluation.tables import distances
from morphogen.evaluation.tables.associations import Associations, associations
from morphogen.evaluation.tables.baselines import BASELINES
from morphogen.evaluation.tables.encoding import Encoder
from morphogen.evaluation.tables.interpolation import Interpolation, interpolation
from morphogen.evaluation.tables.marginals import Accuracy, accuracy
from morphogen.evaluation.tables.missingness import Missingness, missingness
from morphogen.evaluation.tables.rows import Layout, Rows
from morphogen.evaluation.tables.separation import Separation, separation
from morphogen.evaluation.tables.utility import Utility, utility

if TYPE_CHECKING:
    from morphogen.core.columns import Table

MAX_ROWS = 10_000  # default number of made rows
_VERSION = 1  # of the cache entries; raise it with each change of a measure or a baseline


def layout_of(table: Table) -> Layout:
    """What the judge needs to know of a schema."""
    return Layout(
        table.names,
        tuple(len(column.values) for column in table.columns),
        tuple(column.resolution for column in table.columns),
        tuple(column.values for column in table.columns),
        None if table.target is None else table.names.index(table.target),
    )


class TableReference:
    """Training and held-out rows of a table.

    train     all training rows
    held_out  the rows of a split that was not trained on
    n         number of made rows to judge; m of them are compared with m held-out rows
    """

    def __init__(self, train: Rows, held_out: Rows, *, n: int | None = None, seed: int = 0) -> None:
        """Raises `DataError` for a table without rows."""
        if not len(train) or not len(held_out):
            raise DataError(
                f"there is nothing to judge by: {len(train)} training rows and {len(held_out)} held-out rows."
            )
        self.layout, self.seed, self.train = train.layout, seed, train
        self.n = n or min(MAX_ROWS, len(train))
        rng = np.random.default_rng(seed)
        self.m = min(self.n, len(held_out), len(train))
        self.held_out = held_out.draw(len(held_out), rng)
        self.real = self.held_out.take(slice(self.m))
        self.fresh_rows = train.draw(self.n, rng)
        self.encoder = Encoder(train)

    @classmethod
    def of(cls, dataset: Dataset, *, split: str = "test", n: int | None = None, seed: int = 0) -> TableReference:
        """The reference of a loaded table. Raises `UsageError` if `split` is the training split."""
        table = dataset.spec.table
        if table is None:
            raise DataError(f"{dataset.spec.name} is no table: its records are of kind {dataset.spec.kind!r}.")
        if split == "train":
            raise UsageError(
                "synthetic rows are judged by rows that were not trained on: give another split than 'train'."
            )
        layout = layout_of(table)
        train, held_out = (Rows(dataset.split(name).stored.cpu().double().numpy(), layout) for name in ("train", split))
        return cls(train, held_out, n=n, seed=seed)

    @cached_property
    def halves(self) -> distances.Halves:
        return distances.halves(self.train, self.held_out, self.seed)

    @cached_property
    def fresh(self) -> TableSample:
        """Training rows, as a fresh sample of what the held-out rows are a sample of."""
        return TableSample(self.fresh_rows, self)

    @cached_property
    def trivial(self) -> Mapping[str, TableSample]:
        """The rows of each baseline. A baseline that these rows do not allow is left out."""
        found = {}
        for i, (name, make) in enumerate(BASELINES.items()):
            try:
                found[name] = TableSample(make(self.train, self.n, np.random.default_rng([self.seed, i])), self)
            except MorphogenError:
                continue
        return found

    @cached_property
    def key(self) -> str:
        """The hash of everything that the scales depend on."""
        cells = [torch.from_numpy(np.ascontiguousarray(rows.cells)) for rows in (self.train, self.held_out)]
        return cache.key(
            "table",
            _VERSION,
            self.layout.names,
            self.layout.sizes,
            self.layout.resolutions,
            self.layout.target,
            self.n,
            self.seed,
            *cells,
        )


@dataclass(eq=False)
class TableSample:
    """Made rows, and what was measured of them by the reference. Everything is measured once, when it is asked for."""

    rows: Rows
    reference: TableReference

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def compared(self) -> Rows:
        """As many rows as the held-out rows that they are compared with."""
        return self.rows.take(slice(self.reference.m))

    @cached_property
    def accuracy(self) -> Accuracy:
        return accuracy(self.compared, self.reference.real)

    @cached_property
    def associations(self) -> Associations:
        return associations(self.compared, self.reference.real)

    @cached_property
    def correlations(self) -> Associations:
        return associations(self.compared, self.reference.real, "pearson")

    @cached_property
    def missingness(self) -> Missingness:
        return missingness(self.compared, self.reference.real)

    @cached_property
    def separation(self) -> Separation:
        return separation(self.compared, self.reference.real, self.reference.seed)

    @cached_property
    def utility(self) -> Mapping[str, Utility]:
        return utility(self.rows, self.reference.held_out, self.reference.train)

    @cached_property
    def duplicates(self) -> distances.Duplicates:
        return distances.duplicates(self.rows, self.reference.train, self.reference.halves)

    @cached_property
    def nearest(self) -> distances.Nearest:
        return distances.nearest(self.rows, self.reference.halves, self.reference.encoder)

    @cached_property
    def membership(self) -> distances.Membership:
        return distances.membership(self.rows, self.reference.halves, self.reference.encoder)

    @cached_property
    def interpolation(self) -> Interpolation:
        return interpolation(self.rows, self.reference.halves, self.reference.train)
