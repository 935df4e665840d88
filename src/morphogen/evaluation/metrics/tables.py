"""Compare the columns, the pairs of columns and the whole records of two tables.

    marginals    for each column, the Kolmogorov-Smirnov distance sup_t |F_a(t) - F_b(t)| of numbers, the total
                 variation
             1/2 sum_k |p_k - q_k| of categories: 0 to 1
association  of each pair of columns: Pearson's correlation, -1 to 1, for two of numbers; Cramer's V, 0 to 1, for two of
             categories, (chi^2 / n / (min(K, L) - 1))^1/2; for one of each the correlation ratio eta, 0 to 1,
             (variance of the group means / variance)^1/2. The matrices of both tables are subtracted
two-sample   the classifier test (`two_sample`) on numbers beside one-hot categories

A distance of empirical marginals is never negative, and about 0.87 (1/n + 1/m)^1/2 (KS) for equal distributions. The
exact intervals here include that. They hold for all columns at once: by the inequality of Dvoretzky, Kiefer, Wolfowitz
(1956) with Massart's constant (1990), P(sup |F_n - F| > e) <= 2 exp(-2 n e^2), and for the total variation of K
categories by P(TV > e) <= 2^K exp(-2 n e^2) (a union over the sets of categories, each by Hoeffding's inequality).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.metrics.two_sample import MIN_RECORDS, Method, TwoSample, two_sample_test
from morphogen.theory.statistics import intervals
from morphogen.theory.statistics.intervals import Estimate

Kind = Literal["number", "category"]
GROUPS = 20


class Associations(NamedTuple):
    """a, b (C, C): the associations of both tables, with diagonal 1; their difference a - b; and the mean of its
    absolute values off the diagonal.

    A column without variance has the association 0 with all others. The jackknife removes the bias of the mean and
    gives its interval. If most pairs do not differ, the kink of the absolute value lets it remove only a part of the
    bias.
    """

    a: Tensor
    b: Tensor
    difference: Tensor
    mean: Estimate


def marginals(a: Tensor, b: Tensor, kinds: Sequence[Kind]) -> list[Estimate]:
    """The distance of each column in tables a (N, C) and b (M, C), with 95 % intervals that hold for all together."""
    a, b = _tables(a, b, kinds)
    level = (1.0 - intervals.LEVEL) / len(kinds)
    found = []
    for x, y, kind in zip(a.mT, b.mT, kinds, strict=True):
        values = torch.cat((x, y)).unique()
        if kind == "number":
            at = [torch.searchsorted(v.sort().values, values, right=True).double() / len(v) for v in (x, y)]
            distance, log_count = float((at[0] - at[1]).abs().max()), math.log(2.0)
        else:
            shares = [(v[:, None] == values).double().mean(0) for v in (x, y)]
            distance, log_count = 0.5 * float((shares[0] - shares[1]).abs().sum()), len(values) * math.log(2.0)
        # the deviation of each sample, at half of the error rate
        radius = sum(math.sqrt((log_count + math.log(2.0 / level)) / (2.0 * len(v))) for v in (x, y))
        found.append(Estimate(distance, (max(0.0, distance - radius), min(1.0, distance + radius))))
    return found


def associations(a: Tensor, b: Tensor, kinds: Sequence[Kind]) -> Associations:
    """The associations of pairs of columns in tables a (N, C) and b (M, C) with at least two columns."""
    a, b = _tables(a, b, kinds)
    if len(kinds) < 2:
        raise DataError("an association needs two columns; the tables have one.")
    codes = [torch.cat((a[:, c], b[:, c])).unique() if kind == "category" else None for c, kind in enumerate(kinds)]
    sides = [_Sums(x, codes) for x in (a, b)]
    whole = [side.association() for side in sides]

    def mean(one: Tensor, other: Tensor) -> float:
        c = len(one)
        return float((one - other).abs().sum()) / (c * (c - 1))

    without_a = torch.tensor([mean(m, whole[1]) for m in sides[0].without()])
    without_b = torch.tensor([mean(whole[0], m) for m in sides[1].without()])
    estimate = intervals.group_jackknife(mean(*whole), without_a, without_b)
    return Associations(whole[0], whole[1], whole[0] - whole[1], estimate)


def table_test(a: Tensor, b: Tensor, kinds: Sequence[Kind], rng: Rng, method: Method = "boosting") -> TwoSample:
    """The classifier two-sample test of tables a (N, C) and b (N, C), with one column per value of a category."""
    a, b = _tables(a, b, kinds)
    columns: list[tuple[Tensor, Tensor]] = []
    for x, y, kind in zip(a.mT, b.mT, kinds, strict=True):
        if kind == "number":
            columns.append((x[:, None], y[:, None]))
        else:
            values = torch.cat((x, y)).unique()
            columns.append(((x[:, None] == values).double(), (y[:, None] == values).double()))
    x, y = (torch.cat(side, 1) for side in zip(*columns, strict=True))
    return two_sample_test(x, y, rng, method)


class _Sums:
    """Sums of products of a table's encoded columns (standardized or one-hot), in total and by group."""

    def __init__(self, x: Tensor, codes: list[Tensor | None]) -> None:
        parts = []
        for column, values in zip(x.mT, codes, strict=True):
            if values is None:
                centered = column - column.mean()
                scale = centered.square().mean().sqrt()
                constant = bool(scale <= 1e-12 * column.abs().max())  # only rounding errors
                parts.append((torch.zeros_like(column) if constant else centered / scale)[:, None])
            else:
                parts.append((column[:, None] == values).double())
        self.codes = codes
        self.starts = [0, *torch.tensor([p.shape[1] for p in parts]).cumsum(0).tolist()]
        encoded = intervals.shuffled(torch.cat((*parts, torch.ones(len(x), 1, dtype=x.dtype)), 1), "groups")
        self.groups = torch.stack([rows.mT @ rows for rows in encoded.tensor_split(GROUPS)])
        self.total = self.groups.sum(0)

    def association(self, sums: Tensor | None = None) -> Tensor:
        """(C, C) from the sums (E, E) of products of encoded columns; the last column is 1."""
        sums = self.total if sums is None else sums
        products, n = sums / sums[-1, -1], len(self.codes)
        means = products[-1]
        found = torch.eye(n, dtype=sums.dtype)
        for i in range(n):
            for j in range(i):
                rows, columns = slice(*self.starts[i : i + 2]), slice(*self.starts[j : j + 2])
                cov = products[rows, columns] - torch.outer(means[rows], means[columns])
                spread = [products.diagonal()[s] - means[s].square() for s in (rows, columns)]
                found[i, j] = found[j, i] = _pair(
                    cov, means[rows], means[columns], spread, self.codes[i] is None, self.codes[j] is None
                )
        return found

    def without(self) -> list[Tensor]:
        return [self.association(self.total - group) for group in self.groups]


def _pair(cov: Tensor, p: Tensor, q: Tensor, spread: list[Tensor], first_number: bool, second_number: bool) -> float:
    """The association of two columns from the covariance of their encodings; p, q are means (shares of categories)."""
    tiny = 1e-12
    if first_number and second_number:
        scale = float(spread[0] * spread[1])
        return float(cov) / math.sqrt(scale) if scale > tiny else 0.0
    if not first_number and not second_number:
        present = min(int((p > 0).sum()), int((q > 0).sum()))
        expected = torch.outer(p, q)
        squares = torch.where(expected > 0, cov.square() / expected.clamp_min(1e-300), torch.zeros_like(cov)).sum()
        return math.sqrt(float(squares) / (present - 1)) if present > 1 else 0.0
    shares, variance = (q, float(spread[0])) if first_number else (p, float(spread[1]))
    between = torch.where(shares > 0, cov.flatten().square() / shares.clamp_min(1e-300), torch.zeros_like(shares)).sum()
    return math.sqrt(min(1.0, float(between) / variance)) if variance > tiny else 0.0


def _tables(a: Tensor, b: Tensor, kinds: Sequence[Kind]) -> tuple[Tensor, Tensor]:
    a, b = intervals.samples(a, b, MIN_RECORDS, "distances of fewer records' marginals are mostly chance")
    if a.shape[1] != len(kinds):
        raise DataError(f"{len(kinds)} kinds of columns came with tables of {a.shape[1]} columns: give one each.")
    for c, kind in enumerate(kinds):
        if kind == "category" and not all(torch.equal(x, x.round()) for x in (a[:, c], b[:, c])):
            raise DataError(f"column {c} is said to hold category codes, but has values that are no integers.")
    return a.cpu(), b.cpu()
