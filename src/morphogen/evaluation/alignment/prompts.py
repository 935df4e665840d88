"""Prompts from a split of captioned pictures, and the pictures to compare with drawings of them.

The real picture of a prompt is that of its record. Two baselines need no model: the same drawings with captions of
others (chance), and a training picture with the nearest caption (memory alone). The distance of captions is the edit
distance of their words (Levenshtein, 1966), the least number of words to change, insert or delete. It needs no network.
Among several nearest captions one is chosen at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from morphogen.core.errors import DataError
from morphogen.core.rng import Rng
from morphogen.data import Records
from morphogen.evaluation.context.degradations import as_bytes
from morphogen.evaluation.features.trunk import words_of


@dataclass(frozen=True)
class Prompts:
    """n captions of one split, in the order of the drawings.

    captions  n texts
    rows      (n,) int64, the record of `records` that each caption belongs to; repeated prompts have equal rows
    """

    split: str
    records: Records
    captions: list[str]
    rows: Tensor

    def __len__(self) -> int:
        return len(self.captions)

    def real(self) -> Tensor:
        """The pictures of the records, (n, C, H, W) uint8."""
        return as_bytes(self.records.stored.cpu()[self.rows], self.records.spec)


def chosen(records: Records, split: str, n: int, rng: Rng) -> Prompts:
    """Choose `n` captions of a split in random order; a caption repeats only after all others. Raises `DataError` if
    there are none."""
    captions = records.captions or []
    there = torch.tensor([i for i, caption in enumerate(captions) if caption], dtype=torch.int64)
    if not len(there):
        raise DataError(f"{records.spec.name} has no captions in the split {split!r}, so there is nothing to draw.")
    turns = [rng.permutation(f"prompts/{split}", k, len(there)) for k in range(-(-n // len(there)))]
    rows = there[torch.cat(turns)[:n]]
    return Prompts(split, records, [captions[i] for i in rows.tolist()], rows)


def matched(records: Records, split: str, captions: Sequence[str]) -> tuple[Prompts, Tensor]:
    """The prompts of a split that occur in `captions`, and their places (n,) there.

    If several records have the same caption, the first one counts.
    """
    first = {caption: i for i, caption in reversed(list(enumerate(records.captions or []))) if caption}
    places = [i for i, caption in enumerate(captions) if caption in first]
    asked = [captions[i] for i in places]
    rows = torch.tensor([first[caption] for caption in asked], dtype=torch.int64)
    return Prompts(split, records, asked, rows), torch.tensor(places, dtype=torch.int64)


def deranged(captions: Sequence[str], rng: Rng) -> Tensor | None:
    """(n,) a random permutation that gives every place a different caption than its own.

    Captions are put in random order with equal ones side by side, and shifted by the largest number of equal captions.
    None if one caption has more than half of the places.
    """
    names, number, counts = np.unique(np.asarray(captions), return_inverse=True, return_counts=True)
    n, most = len(captions), int(counts.max(initial=0))
    if 2 * most > n:
        return None
    at = rng.permutation("shuffled captions", 0, len(names))[torch.from_numpy(number)]
    order = at.argsort(stable=True)
    partner = torch.empty(n, dtype=torch.int64)
    partner[order] = order.roll(most)
    return partner


def nearest(captions: Sequence[str], training: Sequence[str], rng: Rng) -> Tensor:
    """(n,) a place in `training` for each of `captions`: the one with the fewest edits, or a random one of several."""
    words = [words_of(caption) for caption in training]
    number = {word: i for i, word in enumerate(sorted({w for row in words for w in row}))}
    longest = max((len(row) for row in words), default=0)
    table = np.full((len(words), longest), -1, dtype=np.int32)
    for row, found in zip(table, words, strict=True):
        row[: len(found)] = [number[w] for w in found]
    # Equal rows have equal distances, and captions of a grammar have many equal rows.
    different, which = np.unique(table, axis=0, return_inverse=True)
    lengths = (different >= 0).sum(1)
    known: dict[str, np.ndarray] = {}
    u = rng.uniform("nearest caption", len(captions)).tolist()
    found_at = []
    for caption, chance in zip(captions, u, strict=True):
        if caption not in known:
            edits = _edits([number.get(w, -2) for w in words_of(caption)], different, lengths)
            known[caption] = np.flatnonzero((edits == edits.min())[which.reshape(-1)])
        found_at.append(int(known[caption][int(chance * len(known[caption]))]))
    return torch.tensor(found_at, dtype=torch.int64)


def _edits(words: Sequence[int], table: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(N,) edit distances of one row of words to the rows of `table` (N, L); `lengths` (N,) are the rows' words."""
    n, longest = table.shape
    above = np.broadcast_to(np.arange(longest + 1, dtype=np.int32), (n, longest + 1)).T  # (L + 1, N)
    for i, word in enumerate(words):
        here = np.empty_like(above)
        here[0] = i + 1
        for j in range(longest):
            kept = above[j] + (table[:, j] != word)
            here[j + 1] = np.minimum(np.minimum(above[j + 1], here[j]) + 1, kept)
        above = here
    return above[lengths, np.arange(n)]
