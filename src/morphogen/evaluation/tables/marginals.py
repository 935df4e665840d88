"""Accuracy of the marginals of one, two and three columns.

    accuracy of a set of columns = 1 - 1/2 sum_bins |p(bin) - q(bin)|,

1 minus the total variation distance of the binned cells. The value is the mean of three means: over all columns, all
pairs and all triples. This is the public definition of MOSTLY AI (Platzer and Reutterer, "Holdout-based empirical
assessment of mixed-type synthetic data", 2021; the package mostlyai-qa), with its bins:

    numbers     10 bins with bounds at quantiles of the real rows; one bin a value if there are at most 10
    categories  the 10 most frequent values of the real rows that at least 5 rows hold; the others are one bin
    missing     a bin of its own, in every column

Of tables with more than 1,000 triples, 1,000 are drawn, always the same ones.

Two samples of one distribution differ by chance, and triples differ most, so an accuracy says something only beside
that of real rows at the same n (the floor). The interval is that of the value at this n, by the jackknife over 20
groups of rows. It leaves the bias of the distance in, which the floor has, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from morphogen.evaluation.tables.encoding import most_frequent
from morphogen.evaluation.tables.intervals import GROUPS, groups, spread
from morphogen.evaluation.tables.rows import Cells, Rows
from morphogen.theory.statistics.intervals import Estimate

BINS = 10
LEAST_ROWS = 5  # rows that hold a value that has a bin of its own
MOST_TRIPLES = 1000


class Accuracy(NamedTuple):
    """The mean accuracy, those of one, two and three columns, and that of each column (C,)."""

    mean: Estimate
    by_size: tuple[float, ...]
    columns: tuple[float, ...]


class Bins:
    """The bins of each column, by the real rows. `codes` gives the bin of each cell; the last one is for missing."""

    def __init__(self, real: Rows) -> None:
        self._of: list[Cells] = []
        self.layout = real.layout
        for c, size in enumerate(real.layout.sizes):
            known = np.sort(real.cells[:, c][~np.isnan(real.cells[:, c])])
            if size:
                common = most_frequent(known, BINS)
                held = np.array([(known == value).sum() for value in common])
                self._of.append(np.sort(common[held >= LEAST_ROWS]) if len(common) else common)
            else:
                self._of.append(_bounds(known))

    def counts(self) -> list[int]:
        """(C,) the number of bins of each column."""
        return [
            len(of) + 2 if size else max(1, len(of)) + 1 for of, size in zip(self._of, self.layout.sizes, strict=True)
        ]

    def codes(self, rows: Rows) -> np.ndarray:
        """(N, C) int64."""
        found = np.empty(rows.cells.shape, dtype=np.int64)
        for c, (of, size, count) in enumerate(zip(self._of, self.layout.sizes, self.counts(), strict=True)):
            cells = rows.cells[:, c]
            missing = np.isnan(cells)
            at = np.nan_to_num(cells, nan=0.0)
            if size:
                place = np.searchsorted(of, at)
                hit = (
                    (place < len(of)) & (of[np.minimum(place, len(of) - 1)] == at)
                    if len(of)
                    else np.zeros(len(at), bool)
                )
                code = np.where(hit, place, len(of))
            else:
                code = np.clip(np.searchsorted(of, at, side="right") - 1, 0, max(0, len(of) - 1))
            found[:, c] = np.where(missing, count - 1, code)
        return found


def _bounds(known: Cells) -> Cells:
    """The lower bounds of at most 10 bins: values that are quantiles, as many as there are different ones."""
    values = np.unique(known)
    if len(values) <= BINS:
        return values
    for count in range(BINS + 1, min(1000, len(known)) + 1):  # ties take several quantiles; then more of them are tried
        bounds = np.unique(known[np.linspace(0, len(known) - 1, count).astype(int)])
        if len(bounds) > BINS:
            break
    return bounds[:-1]


def accuracy(made: Rows, real: Rows, bins: Bins | None = None, most_triples: int = MOST_TRIPLES) -> Accuracy:
    """The accuracy of `made` (N rows) against `real` (M rows). `bins` are those of `real` unless others are given."""
    bins = bins or Bins(real)
    counts, columns = bins.counts(), range(len(real.layout.sizes))
    sides = [bins.codes(rows) for rows in (made, real)]
    labels = [groups(len(rows), name) for rows, name in ((made, "made"), (real, "real"))]
    means = []
    for size in (1, 2, 3):
        sets = _sets(columns, size, most_triples)
        if sets:
            means.append(np.array([_distances(sides, labels, chosen, counts) for chosen in sets]))
    whole = [1.0 - of[:, 0].mean() for of in means]
    without = 1.0 - np.mean([of[:, 1:].mean(0) for of in means], axis=0)
    return Accuracy(
        spread(float(np.mean(whole)), without), tuple(map(float, whole)), tuple(float(v) for v in 1.0 - means[0][:, 0])
    )


def _sets(columns: Sequence[int], size: int, most: int) -> list[tuple[int, ...]]:
    total = len(columns)
    if size < 3 or total * (total - 1) * (total - 2) // 6 <= most:
        return list(combinations(columns, size))
    rng = np.random.default_rng(0)
    return list(_drawn(rng, total, most))


def _drawn(rng: np.random.Generator, total: int, most: int) -> Iterator[tuple[int, ...]]:
    seen: set[tuple[int, ...]] = set()
    while len(seen) < most:
        chosen = tuple(sorted(rng.choice(total, 3, replace=False).tolist()))
        if chosen not in seen:
            seen.add(chosen)
            yield chosen


def _distances(
    sides: Sequence[np.ndarray], labels: Sequence[np.ndarray], chosen: Sequence[int], counts: Sequence[int]
) -> np.ndarray:
    """(1 + groups,): the total variation of these columns, and without each group of rows."""
    cells = int(np.prod([counts[c] for c in chosen]))
    shares = []
    for codes, group in zip(sides, labels, strict=True):
        place = np.ravel_multi_index(tuple(codes[:, c] for c in chosen), tuple(counts[c] for c in chosen))
        used, place = np.unique(place, return_inverse=True) if cells > 1 << 14 else (np.arange(cells), place)
        held = np.zeros((GROUPS, cells))
        held[:, used] = np.bincount(group * len(used) + place, minlength=GROUPS * len(used)).reshape(GROUPS, -1)
        total = held.sum(0)
        kept = np.concatenate((total[None], total - held))
        shares.append(kept / np.maximum(kept.sum(1, keepdims=True), 1.0))
    return 0.5 * np.abs(shares[0] - shares[1]).sum(1)
