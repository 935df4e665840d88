"""Fixed features of the codes of a table's columns: what a network of codes reads, and what it puts out in terms of.

A category has one indicator for each of its values. A number has many codes, one for each bin, and few of them have
enough records to learn from. Its features are its score (`core/column_views.py`), hat functions of its place among the
quantiles, which neighboring bins share, and an indicator for each bin that holds many records, such as that of 0. So
the number of features grows with the number of training records, up to one for each bin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.core.column_views import C, layout, score
from morphogen.core.columns import Table

RECORDS_PER_FEATURE = 30
GIVEN = 200.0  # records that the bins of a number are given as its quantiles say
GIVEN_VALUE = 0.05  # records that a value of a category is given
FEWEST_HATS = 4
MOST_LINEAR = 6  # up to so many codes a category has linear features
MOST_DIMENSIONS = 128  # of the linear features of a table


def bin_shares(table: Table) -> list[tuple[Tensor, Tensor]]:
    """For each number, the share of the training records below each bin, and up to its end: (K,) each, float64."""
    plan = layout(table)
    below, above = plan.bins.points[:, :-1], plan.bins.points[:, 1:]
    found = []
    for j, k in enumerate(plan.bins.pieces.tolist()):
        ends = (plan.quantiles.share(v[j, :k, None].expand(k, len(plan.numbers)))[:, j] for v in (below, above))
        found.append((next(ends), next(ends)))
    return found


def middle_scores(table: Table) -> list[Tensor]:
    """For each number, the score of the middle of each bin in probability, (K,) float64."""
    return [C * score((below + above) / 2.0) for below, above in bin_shares(table)]


def number_features(below: Tensor, above: Tensor, records: int) -> Tensor:
    """Features (K, F) of the bins between the shares `below` and `above` (K,)."""
    u, mass = (below + above) / 2.0, above - below
    if records >= RECORDS_PER_FEATURE * len(u):
        return torch.eye(len(u), dtype=torch.float64)
    hats = min(len(u), max(FEWEST_HATS, records // (4 * RECORDS_PER_FEATURE)))
    nodes = torch.linspace(0.0, 1.0, hats, dtype=torch.float64)
    smooth = (1.0 - (u[:, None] - nodes).abs() * (hats - 1)).clamp_min(0.0)
    heavy = (mass * records >= RECORDS_PER_FEATURE).nonzero()[:, 0]
    return torch.cat((smooth, torch.eye(len(u), dtype=torch.float64)[:, heavy]), 1)


def code_features(table: Table, records: int) -> tuple[Tensor, ...]:
    """For each column, features (K, F): of the bins of a number, and of all codes of another column."""
    shares = iter(bin_shares(table))
    return tuple(
        number_features(*next(shares), records).float() if column.is_number else torch.eye(column.n_codes)
        for column in table.columns
    )


def linear_features(table: Table) -> tuple[Tensor, ...]:
    """For each column, the features (K, D) of its codes by which numbers are predicted linearly.

    Those of a number are an indicator of a missing cell, where there may be one, and then the score, 0 where missing.
    Those of a category of few values are its indicators but the last. Other columns have none. A table has at most
    `MOST_DIMENSIONS`.
    """
    scores = iter(middle_scores(table))
    room = MOST_DIMENSIONS - len(layout(table).numbers)
    found = []
    for column in table.columns:
        k = column.n_codes
        if column.is_number:
            features = next(scores)[:, None]
            if column.has_missing:
                features = torch.cat((features, features.new_zeros(1, 1)))
                if room > 0:
                    features = torch.cat((torch.eye(k, dtype=torch.float64)[:, -1:], features), 1)
                    room -= 1
        else:
            width = k - 1 if k <= MOST_LINEAR and room >= k - 1 else 0
            features, room = torch.eye(k, dtype=torch.float64)[:, :width], room - width
        found.append(features)
    return tuple(found)


def given_records(table: Table) -> tuple[Tensor, ...]:
    """For each column, the records (K,) that its codes are given before any is seen."""
    shares, found = iter(bin_shares(table)), []
    for column in table.columns:
        if not column.is_number:
            found.append(torch.full((column.n_codes,), GIVEN_VALUE, dtype=torch.float64))
            continue
        below, above = next(shares)
        bins = GIVEN * (1.0 - column.missing) * (above - below).clamp_min(1e-6)
        found.append(torch.cat((bins, bins.new_tensor([GIVEN * column.missing] * column.has_missing))))
    return tuple(found)
