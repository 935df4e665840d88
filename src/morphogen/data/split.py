"""Which records are set aside, decided by what they hold and never by their order.

A record's key is a hash of its group or of its content, so exact duplicates land on one side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

ORDER = ("train", "validation", "test")
# What people call them.
SPLIT_NAMES = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}


def keys(stored: Tensor, groups: Sequence[str] | None) -> np.ndarray:
    """(N,) uint64, equal for records of one group, or of equal content where there are no groups."""
    if groups is not None:
        parts: Sequence[bytes] = [g.encode() for g in groups]
    else:
        rows = stored.numpy()
        parts = [rows[i].tobytes() for i in range(len(rows))]
    digests = b"".join(hashlib.blake2b(p, digest_size=8).digest() for p in parts)
    return np.frombuffer(digests, dtype="<u8")


def by_share(keys: np.ndarray, shares: Mapping[str, float]) -> list[str]:
    """A split name for each record: `shares` of them in expectation, "train" for the rest.

    Each record is placed by its own key, so new records never move old ones.
    """
    at = keys / 2.0**64
    names = np.full(len(keys), "train", dtype=object)
    low = 0.0
    for name, share in shares.items():
        names[(at >= low) & (at < low + share)] = name
        low += share
    return list(names)


def carve(keys: np.ndarray, amount: float) -> np.ndarray:
    """(N,) bool: which training records to set aside for validation.

    `amount` from 1 on is a number of records; below 1 it is a share, of at least 64 records or, in
    small sets, a tenth. Whole groups are taken, so there may be a few more.
    """
    n = len(keys)
    want = round(amount) if amount >= 1 else max(round(amount * n), min(64, n // 10))
    if amount == 0 or want == 0:
        return np.zeros(n, dtype=bool)
    border = np.sort(keys)[min(want, n) - 1]
    chosen: np.ndarray = keys <= border
    return chosen
