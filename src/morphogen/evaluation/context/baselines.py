"""The baselines of a distance: trivial "models", and the floor, which no model is expected to pass.

The trivial models are sets of records that are made from training data without learning. Two of them must look bad (the
training mean, independent pixels) and one medium (a Gaussian). The two that copy training records look perfect to a
metric of fidelity. For that reason copying is always checked separately.

The floor is the distance between real training records and real held-out records at the same n. It contains only chance
and the difference of the two splits.

Records are pictures (N, C, H, W) uint8, and their derivatives are rounded to bytes. Other records are (N, *shape) in
the units of models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from morphogen.core.chunks import chunks
from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.evaluation.context.degradations import drawn
from morphogen.theory.statistics.neighbors import nearest
from morphogen.theory.statistics.pca import PrincipalComponents

_ELEMENTS = 1 << 20  # elements that are handled at a time

Trivial: TypeAlias = Callable[[Tensor, Tensor, int, Rng], Tensor]


def training_mean(train: Tensor, heldout: Tensor, n: int, rng: Rng) -> Tensor:
    """`n` copies of the mean of the training records."""
    total = torch.stack([part.sum(0, dtype=torch.float64) for part in train.split(4096)]).sum(0)
    return _as_records((total / len(train)).expand(n, *train.shape[1:]), train)


def independent_elements(train: Tensor, heldout: Tensor, n: int, rng: Rng) -> Tensor:
    """Records with independent elements: each element is taken from a random training record."""
    flat = train.flatten(1)
    dims = flat.shape[1]
    out = torch.empty(n, dims, dtype=train.dtype, device=train.device)
    for rows in _rows_at_once(n, dims):
        # A 32-bit word times N / 2^32: the bias is below N / 2^32.
        who = (rng.bits("independent elements", range(rows.start, rows.stop), dims) * len(flat)) >> 32
        out[rows] = flat.gather(0, who.to(flat.device))
    return out.reshape(n, *train.shape[1:])


def one_gaussian(train: Tensor, heldout: Tensor, n: int, rng: Rng) -> Tensor:
    """Samples of the Gaussian with the training records' mean and covariance, mean + sum_i sqrt(lambda_i) z_i v_i.

    For large pictures the covariance is that of a part of the records; see `PrincipalComponents`.
    """
    mean, axes = _gaussian(train)
    out = torch.empty(n, len(mean), dtype=train.dtype)
    for rows in _rows_at_once(n, len(mean)):
        z = rng.normal("one Gaussian", range(rows.start, rows.stop), (len(axes),)).to(mean)
        out[rows] = _as_records(torch.addmm(mean, z, axes), train)
    return out.reshape(n, *train.shape[1:]).to(train.device)


def training_copies(train: Tensor, heldout: Tensor, n: int, rng: Rng) -> Tensor:
    """`n` different training records, unchanged."""
    _enough("training", train, n)
    return train[drawn(len(train), n, rng.child("training copies")).to(train.device)]


def nearest_neighbor(train: Tensor, heldout: Tensor, n: int, rng: Rng) -> Tensor:
    """`n` held-out records, each replaced by the training record that is nearest in Euclidean distance."""
    _enough("held-out", heldout, n)
    wanted = heldout[drawn(len(heldout), n, rng.child("nearest neighbor")).to(heldout.device)]
    return train[nearest(wanted.flatten(1).float(), train.flatten(1).float())[1]]


TRIVIAL: dict[str, Trivial] = {
    "training mean": training_mean,
    "independent pixels": independent_elements,
    "one Gaussian": one_gaussian,
    "nearest neighbor": nearest_neighbor,
    "training copies": training_copies,
}
# Records that are not pictures, with their elements as columns.
TRIVIAL_RECORDS = {name.replace("pixels", "columns"): make for name, make in TRIVIAL.items()}


def block(total: int, n: int, draw: int, rng: Rng) -> Tensor:
    """(n,) rows out of 0 .. total-1 for draw number `draw`: the next n of a random order; at its end a new order
    begins.

    So draws share no row until all rows are used. `n` is at most `total`.
    """
    blocks = total // n
    order = rng.permutation("block", draw // blocks, total)
    start = (draw % blocks) * n
    return order[start : start + n]


def _gaussian(train: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and axes (R, D) such that axes^T axes is the covariance."""
    if train.dtype == torch.uint8:
        fit = PrincipalComponents(train)
        return 255.0 * fit.mean, 255.0 * fit.variances.sqrt().float()[:, None] * fit.axes
    x = train.flatten(1).cpu().double()
    centered = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centered.T @ centered / len(x))
    return x.mean(0), (vectors * values.clamp_min(0.0).sqrt()).T


def _as_records(x: Tensor, like: Tensor) -> Tensor:
    """Turn real numbers into records of the type of `like`: bytes in 0 .. 255, other whole numbers in their range."""
    if like.is_floating_point():
        return x.to(like.dtype)
    low, high = (0, 255) if like.dtype == torch.uint8 else (int(like.min()), int(like.max()))
    return x.round().clamp(low, high).to(like.dtype)


def _enough(which: str, records: Tensor, n: int) -> None:
    if n > len(records):
        raise DataError(f"cannot draw {n} different {which} records out of {len(records)}; ask for fewer.")


def _rows_at_once(n: int, width: int) -> Iterator[slice]:
    """Slices of chunks with about `_ELEMENTS` elements."""
    return chunks(n, max(1, _ELEMENTS // max(1, width)))
