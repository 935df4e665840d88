"""Test whether a set of pictures is copied from the training set.

A small distance to training records alone shows nothing, because real records also lie close to each other. So the
distance of each generated record to its nearest training record is compared with those of held-out real records (Meehan
et al., "A non-parametric test to detect data-copying in generative models", 2020). If the model samples new records of
the training distribution, generated and held-out records have the same distribution given the training set. Ranks of
the distances then need no further assumption, also with ties (such as held-out records in the training set).

**Each record**: p = (1 + #{held-out distances <= d}) / (n + 1), its conformal p-value: P(p <= alpha) <= alpha.

**Near-copies** are the records within the alpha-quantile t of the held-out distances. If a share c is copied and the
rest is new, F_g(t) = c + (1 - c) F_h(t), so

    c = (F_g(t) - F_h(t)) / (1 - F_h(t))

estimates the copied share, also if F_h(t) > alpha because many held-out records occur in the training set.

**Few held-out records**, from 30 on: what a training record is to the others, a new record is to the training set. So
the distance of each training record to the nearest *other* one joins the held-out distances (leave one out, the k-fold
of k = N). It is that of a new record to N - 1 records, which is larger than to N by a share of about 1 / (N D) in D
dimensions: far less than the tests can see. Records that occur twice in the training set stay out.

**Two tests** complement each other, each at half the level (Bonferroni):
  ranks   the Mann-Whitney test that generated records are nearer, within cells around centers of the training set and
          summed over them (van Elteren, 1960), so that a model that prefers a dense class, whose records all lie
          close to each other, is not accused of copying. Sees slight closeness of all records; blind if some are
          copied and the others too far out
  nearest of the K pooled records no farther than the pooled alpha-quantile, the number of generated ones is
          hypergeometric. Sees few copies among anything
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError, UsageError
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate
from morphogen.theory.statistics.neighbors import nearest, radii

MIN_RECORDS = 100  # held-out records that are enough alone; alpha = 0.01 needs so many
FEWEST = 30  # records of either kind
_CELLS, _CENTERED = 10, 5000  # the most cells; number of training records for their centers
_MIN_CELL_RECORDS = 20  # the normal approximation of ranks needs so many records of either kind in a cell


class Copying(NamedTuple):
    """The result of the tests on distances to the training set.

    copied       the estimated share of copied records, 0 for a model that copies none, with a 95 % interval
    near         the share of generated records within `threshold`; `expected`, that of the held-out ones
    p_value      of both tests together: flagged at the false-alarm rate `level` if it is below it
    p_ranks, p_nearest   the two tests
    p_values     (N,) the conformal p-value of each generated record
    distances    (N,) to the nearest training record; `twins` (N,) is the number of that record, or (N, 2) of two
    closest      (N,) the generated records in the order of their distances, for a sheet of the closest pairs
    duplicates   number of held-out records that occur exactly in the training set
    """

    copied: Estimate
    near: float
    expected: float
    threshold: float
    p_value: float
    p_ranks: float
    p_nearest: float
    flagged: bool
    level: float
    p_values: Tensor
    distances: Tensor
    twins: Tensor
    closest: Tensor
    duplicates: int


def copying(generated: Tensor, held_out: Tensor, train: Tensor, alpha: float = 0.01, level: float = 0.05) -> Copying:
    """Compare generated records (N, *shape) with held-out real ones (M, *shape) by their distance to `train`.

    All three are features of one network, or the pictures themselves. Use both: a network may overlook small changes,
    and pixels overlook shifts; `disguised_copies.py` searches for those, and `by_distances` judges what it finds.
    `held_out` must not be used for training.

    With fewer than 100 held-out records the training records join them, each beside the others.

    Raises `DataError` for fewer than 30 records of any, or 1 / alpha to compare with, or for differing shapes.
    """
    if not 0.0 < alpha < 1.0 or not 0.0 < level < 1.0:
        raise UsageError(f"alpha and level lie between 0 and 1 (got {alpha} and {level}).")
    why = "closeness is judged by ranks among held-out records"
    intervals.samples(generated, held_out, FEWEST, why)
    intervals.samples(train, held_out, FEWEST, why)
    g, h, t = (_rows(v) for v in (generated, held_out, train))
    distances, twins = nearest(g, t)
    reference = nearest(h, t)[0]
    if len(h) < MIN_RECORDS:
        apart = radii(t, 1)
        h, reference = torch.cat((h, t[apart > 0.0])), torch.cat((reference, apart[apart > 0.0]))
    if len(reference) < 1.0 / alpha:
        raise DataError(
            f"the {alpha:g} quantile of held-out distances needs at least {math.ceil(1 / alpha)} held-out records, got"
            f" {len(reference)}: use more, or a larger alpha."
        )
    return by_distances(distances, twins, reference, cells(g, h, t), alpha, level)


def by_distances(
    distances: Tensor,
    twins: Tensor,
    reference: Tensor,
    cell: tuple[Tensor, Tensor],
    alpha: float | None = None,
    level: float = 0.05,
) -> Copying:
    """The tests on any distances to the training set, of generated (N,) and of held-out records (M,).

    `twins` (N, ...) are the training records that the generated ones are near to; `cell` the cells of both kinds.
    `alpha` is 0.01, or that of the nearest one of fewer than 100 held-out records. Raises `DataError` for fewer than 30
    records of either, or 1 / alpha held-out ones.
    """
    alpha = max(0.01, 1.0 / max(1, len(reference))) if alpha is None else alpha
    if min(len(distances), len(reference)) < FEWEST or len(reference) < 1.0 / alpha - 1e-9:
        raise DataError(
            f"{len(distances):,} and {len(reference):,} records are compared, and at least"
            f" {math.ceil(max(FEWEST, 1.0 / alpha))} of each are needed: closeness is judged by ranks among"
            " held-out records. Use more records."
        )
    ordered = reference.sort().values
    p_values = (1 + torch.searchsorted(ordered, distances, right=True)).double() / (len(ordered) + 1)
    threshold = float(ordered[math.ceil(alpha * len(ordered)) - 1])
    near, expected = (float((d <= threshold).double().mean()) for d in (distances, reference))
    p_ranks = _ranks(distances, reference, *cell)
    p_nearest = _nearest(distances, reference, alpha)
    p_value = min(1.0, 2.0 * min(p_ranks, p_nearest))
    return Copying(
        _copied(near, expected, len(distances), len(reference)),
        near,
        expected,
        threshold,
        p_value,
        p_ranks,
        p_nearest,
        p_value <= level,
        level,
        p_values,
        distances,
        twins,
        distances.argsort(stable=True),
        int((reference == 0.0).sum()),
    )


def _rows(records: Tensor) -> Tensor:
    """Flatten records to (N, D) in their own precision, at least float32."""
    return records.detach().flatten(1).to(torch.promote_types(records.dtype, torch.float32))


def _copied(near: float, expected: float, n: int, m: int) -> Estimate:
    """(F_g - F_h) / (1 - F_h); its interval comes from the exact intervals of both shares, each at 97.5 %."""
    level = 1.0 - 0.5 * (1.0 - intervals.LEVEL)
    low_g, high_g = intervals.binomial_interval(round(near * n), n, level)
    low_h, high_h = intervals.binomial_interval(round(expected * m), m, level)

    def share(g: float, h: float) -> float:
        return max(0.0, (g - h) / (1.0 - h)) if h < 1.0 else 0.0

    return Estimate(share(near, expected), (share(low_g, high_h), share(high_g, low_h)))


def _nearest(distances: Tensor, reference: Tensor, alpha: float) -> float:
    """P(at least so many generated records among the K nearest of all), hypergeometric."""
    pooled = torch.cat((distances, reference)).sort().values
    cut = pooled[math.ceil(alpha * len(pooled)) - 1]
    n, m, k = len(distances), len(reference), int((pooled <= cut).sum())
    observed = int((distances <= cut).sum())
    at = torch.arange(observed, min(n, k) + 1, dtype=torch.float64)
    at = at[k - at <= m]

    def log_choose(total: float, some: Tensor) -> Tensor:
        return math.lgamma(total + 1) - torch.lgamma(some + 1) - torch.lgamma(total - some + 1)

    whole = log_choose(n + m, torch.tensor(float(k), dtype=torch.float64))
    return min(1.0, float((log_choose(n, at) + log_choose(m, k - at) - whole).exp().sum()))


def _ranks(distances: Tensor, reference: Tensor, cell: Tensor, reference_cell: Tensor) -> float:
    """One-sided: P(at least so many pairs with a nearer generated record), by van Elteren's weighted sum over cells."""
    excess, variance = 0.0, 0.0
    for c in cell.unique().tolist():
        g, h = distances[cell == c], reference[reference_cell == c]
        n, m = len(g), len(h)
        if min(n, m) < _MIN_CELL_RECORDS:
            continue
        ordered = h.sort().values
        nearer = torch.searchsorted(ordered, g) + torch.searchsorted(ordered, g, right=True)  # ties count half
        farther = n * m - 0.5 * float(nearer.sum())
        ties = torch.cat((g, h)).unique(return_counts=True)[1].double()
        spread = n * m / 12.0 * (n + m + 1.0 - float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1.0)))
        weight = 1.0 / (n + m + 1.0)
        excess += weight * (farther - 0.5 * n * m)
        variance += weight**2 * spread
    return 0.5 * math.erfc(excess / math.sqrt(2.0 * variance)) if variance > 0.0 else 1.0


def cells(generated: Tensor, held_out: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest center of the training set for each generated and each held-out record."""
    count = min(_CELLS, len(held_out) // 100, len(generated) // 100)
    if count < 2:
        return torch.zeros(len(generated)), torch.zeros(len(held_out))
    from sklearn.cluster import KMeans  # takes a second to import

    some = train[:: -(-len(train) // _CENTERED)].cpu().numpy()
    centers = KMeans(count, n_init=1, max_iter=20, random_state=0).fit(some).cluster_centers_
    to = torch.from_numpy(centers).to(train)
    return nearest(generated, to)[1].cpu(), nearest(held_out, to)[1].cpu()
