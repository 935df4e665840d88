"""Which records are set aside, decided by what they hold and never by their order.

A record's key is a hash of its group or of its content, so exact duplicates land on one side.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

ORDER = ("train", "validation", "test", "calibration")
# What people call them.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "fit"), "train"),
    **dict.fromkeys(("validation", "validate", "valid", "val", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("calibration", "calibrate", "calib"), "calibration"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "holdout", "heldout", "unseen"), "test"),
}
_BESIDE = {"set", "data", "dataset", "split", "images", "image", "imgs", "img", "pictures", "photos", "files"}


def split_of(name: str) -> str | None:
    """The split that a folder or a value of this name means: "Training", "test_set", "val2017" and "held-out" do."""
    words = [word for word in re.findall(r"[^\W\d_]+", name.lower()) if word not in _BESIDE]
    return SPLIT_NAMES.get("".join(words))


def keys(stored: Tensor, groups: Sequence[str] | None) -> np.ndarray:
    """(N,) uint64, equal for records of one group, or of equal content where there are no groups."""
    if groups is not None:
        parts: Sequence[bytes] = [g.encode() for g in groups]
    else:
        rows = stored.numpy()
        parts = [rows[i].tobytes() for i in range(len(rows))]
    digests = b"".join(hashlib.blake2b(p, digest_size=8).digest() for p in parts)
    return np.frombuffer(digests, dtype="<u8")


def set_aside(keys: np.ndarray, counts: Mapping[str, int]) -> np.ndarray:
    """(N,) names: the records with the lowest keys go to the splits of `counts` in turn, the rest to "train".

    Whole groups are taken, so a split may have a few more records than asked for. A new record can push
    no other one further than over one border.
    """
    names = np.full(len(keys), "train", dtype=object)
    ordered = np.sort(keys)
    taken = 0
    for name, count in counts.items():
        if count and taken < len(keys):
            border = ordered[min(taken + count, len(keys)) - 1]
            names[(keys <= border) & (names == "train")] = name
            taken = int(np.searchsorted(ordered, border, side="right"))
    return names


def validation_count(n: int, amount: float) -> int:
    """How many of `n` training records to watch training with.

    `amount` from 1 on is a number of records; below 1 it is a share, of at least 64 records or, in
    small sets, a tenth.
    """
    if amount == 0 or amount >= 1:
        return round(amount)
    return max(round(amount * n), min(64, n // 10))


def amount(n: int, of: float) -> int:
    """A share of `n` below 1, else a number."""
    return round(of) if of >= 1 else round(of * n)
