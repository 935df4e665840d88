"""Baselines of likelihoods: models with independent elements, and a Gaussian.

Each is fitted on training records and evaluated on others, so its value is comparable with that of a model.
Histograms count stored elements u in 0 .. levels-1 with add-one (Laplace) smoothing,

    P(u) = (count(u) + 1) / (n + levels),

so a value that never occurs in training still has a probability. The probabilities sum to exactly 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from morphogen.core.distributions import LOG_2PI
from morphogen.core.errors import DataError

_CHUNK = 1 << 22  # elements at a time, as int64 indices take eight times the memory of stored bytes


class Baseline(NamedTuple):
    """log_prob (B,) of each evaluated record in nats, and the mean of all as nats per record and bits/dim."""

    log_prob: Tensor
    nats: float
    bits_per_dim: float


def pixel_marginals(train: Tensor, test: Tensor, levels: int) -> Baseline:
    """An independent histogram (for 2 levels: a Bernoulli) for each element of stored records (N, *shape)."""
    dims = math.prod(train.shape[1:])
    offsets = torch.arange(dims) * levels
    counts = torch.zeros(dims * levels, dtype=torch.int64)
    for rows in _flat(train).split(_rows(dims)):
        counts += torch.bincount((_checked(rows, levels) + offsets).flatten(), minlength=dims * levels)
    table = _smoothed(counts.reshape(dims, levels)).flatten()
    return _measure_baseline(test, dims, lambda rows: table[_checked(rows, levels) + offsets].sum(1))


def global_histogram(train: Tensor, test: Tensor, levels: int) -> Baseline:
    """One histogram for all elements of stored records (N, *shape)."""
    dims = math.prod(train.shape[1:])
    counts = torch.zeros(levels, dtype=torch.int64)
    for rows in _flat(train).split(_rows(dims)):
        counts += torch.bincount(_checked(rows, levels).flatten(), minlength=levels)
    table = _smoothed(counts)
    return _measure_baseline(test, dims, lambda rows: table[_checked(rows, levels)].sum(1))


def single_gaussian(train: Tensor, test: Tensor, full: bool = True) -> Baseline:
    """The maximum-likelihood Gaussian, with full or diagonal covariance, for real records (N, *shape).

    log_prob is a density of the values as given. Raises `DataError` if the training records' covariance
    is singular, for which no density exists.
    """
    x = _flat(train).double()
    mean = x.mean(0)
    centered = x - mean
    cov = centered.T @ centered / len(x) if full else centered.square().mean(0).diag()
    root, failed = torch.linalg.cholesky_ex(cov)
    if failed or root.diagonal().min() <= 1e-7 * cov.diagonal().max().sqrt():
        raise DataError(
            f"the covariance of {len(x)} training records in {x.shape[1]} dimensions is singular, so a Gaussian has no"
            " density: remove constant or dependent columns, or use more records."
        )

    def log_prob(rows: Tensor) -> Tensor:
        scaled = torch.linalg.solve_triangular(root, (rows.double() - mean).T, upper=False)
        return -0.5 * (len(root) * LOG_2PI + scaled.square().sum(0)) - root.diagonal().log().sum()

    return _measure_baseline(test, x.shape[1], log_prob)


def _flat(records: Tensor) -> Tensor:
    return records.flatten(1).cpu()


def _rows(dims: int) -> int:
    return max(1, _CHUNK // dims)


def _checked(rows: Tensor, levels: int) -> Tensor:
    values = rows.long()
    if len(values) and (values.min() < 0 or values.max() >= levels):
        raise DataError(
            f"stored elements lie in [{int(values.min())}, {int(values.max())}], expected 0 to {levels - 1}"
            f" for {levels} levels."
        )
    return values


def _smoothed(counts: Tensor) -> Tensor:
    """Log-probabilities over the last axis of counts."""
    smoothed = counts.double() + 1.0
    return torch.log(smoothed / smoothed.sum(-1, keepdim=True))


def _measure_baseline(test: Tensor, dims: int, log_prob: Callable[[Tensor], Tensor]) -> Baseline:
    if not len(test):
        raise DataError("there are no records to evaluate the baseline on.")
    values = torch.cat([log_prob(rows) for rows in _flat(test).split(_rows(dims))])
    nats = float(values.mean())
    return Baseline(values, nats, -nats / (dims * math.log(2.0)))
