"""`Records`: one split in memory, as stored bytes; `Dataset`: the splits and their description."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from morphogen.core.batch import Batch, RawCondition
from morphogen.core.data_spec import PAD, DataSpec
from morphogen.core.errors import DataError, nearest
from morphogen.core.printable import listed, one_line
from morphogen.core.rng import Rng
from morphogen.data.context import Degradation

_PER_RECORD = ("stored", "ids", "labels", "captions", "paraphrases", "text", "names", "attributes", "present", "groups")


def picked(values: Any, rows: Tensor | slice) -> Any:
    """Some rows of a tensor or of a list; None stays None."""
    if values is None or isinstance(rows, slice):
        return None if values is None else values[rows]
    if isinstance(values, Tensor):
        # The same as values[rows], several times faster for small rows on a CPU; masks it cannot take.
        return values[rows] if rows.dtype == torch.bool else values.index_select(0, rows)
    return [values[i] for i in torch.arange(len(values))[rows].tolist()]


@dataclass(frozen=True)
class Problem:
    """A record that cannot be used, by name, and what is wrong with it. Both are made safe to show and to store."""

    record: str
    what: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "record", one_line(self.record))
        object.__setattr__(self, "what", one_line(self.what))

    def __str__(self) -> str:
        return f"{self.record}: {self.what}"


@dataclass(frozen=True)
class Files:
    """The use of the files of a folder: seen = records + captions + left_out + others.

    records     pictures that are used
    captions    files that captions, classes or splits were read from
    left_out    files that cannot be used, each of which is among the problems
    others      files that are no pictures, by name
    """

    records: int
    captions: int
    left_out: int
    others: tuple[str, ...] = ()

    @property
    def seen(self) -> int:
        """All of them."""
        return self.records + self.captions + self.left_out + len(self.others)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        counts = {"seen": self.seen, "records": self.records, "captions": self.captions, "left_out": self.left_out}
        return {**counts, "others": [one_line(name) for name in self.others], "in_words": str(self)}

    def __str__(self) -> str:
        parts = [f"{self.records:,} records"]
        parts += [f"{self.captions:,} with captions or other columns"] * bool(self.captions)
        parts += [f"{self.left_out:,} left out"] * bool(self.left_out)
        parts += [f"{len(self.others):,} no pictures ({listed(self.others, 5)})"] * bool(self.others)
        return f"{self.seen:,} files: {', '.join(parts)}"


@dataclass(frozen=True)
class Records:
    """The records of one split.

    stored      (N, *shape) uint8, float32 for real numbers, or the cells (N, C) of a table in float64; `spec.encode`
                makes it x
    ids         (N,) int64, unique in the whole data set and stable from load to load; on the CPU
    labels      (N,) int64, or None; -1 where the class is not known
    captions    a text each, "" where there is none; paraphrases: further ones of each record
    text        (N, V, L) int64, all of them as token ids, the caption first, each as often as any other to within one
    attributes  (N, A) float32, the value or the position in `Attribute.values`; present (N, A) bool
    groups      the name of what each record belongs to, such as a patient, where the source says so
    """

    spec: DataSpec
    stored: Tensor
    ids: Tensor
    labels: Tensor | None = None
    captions: list[str] | None = None
    paraphrases: list[tuple[str, ...]] | None = None
    text: Tensor | None = None
    names: list[str] | None = None
    attributes: Tensor | None = None
    present: Tensor | None = None
    groups: list[str] | None = None

    def __len__(self) -> int:
        return self.stored.shape[0]

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """x (*shape) of one record as networks see it, and its class, -1 without one.

        So a `torch.utils.data.DataLoader` takes records as they are. Raises `IndexError` outside.
        """
        if not -len(self) <= row < len(self):
            raise IndexError(f"record {row} of {len(self):,}")
        row = row % len(self)
        x = self.spec.encode(self.stored[row : row + 1])[0]
        return x, -1 if self.labels is None else int(self.labels[row])

    def batch(
        self,
        rows: Tensor | slice | None = None,
        index: Tensor | None = None,
        flip: Tensor | None = None,
        form: Tensor | None = None,
    ) -> Batch:
        """Some rows (all for None) as a `Batch` of x (B, *shape) on the device of `stored`.

        Where the source says so, each picture's condition holds its degraded copy, made anew: its noise belongs to the
        place in the stream, so that it is another one every time, or else to the record.

        index  (B,) each row's place in the stream of training samples
        flip   (B,) bool: mirror these pictures left to right
        form   (B,) int64 below V: which of its texts each record comes with; None: the caption
        """
        rows = slice(None) if rows is None else rows
        ids = picked(self.ids, rows)
        if isinstance(rows, Tensor):
            rows = rows.to(self.stored.device)
        stored = picked(self.stored, rows)
        if flip is not None:
            mirrored = flip.nonzero()[:, 0].to(stored.device)
            stored = stored.index_copy(0, mirrored, stored.index_select(0, mirrored).flip(-1))
        cond = None
        if self.labels is not None or self.attributes is not None:
            cond = RawCondition(picked(self.labels, rows), picked(self.attributes, rows), picked(self.present, rows))
        if self.text is not None:
            text = picked(self.text, rows)
            text = text[:, 0] if form is None else text[torch.arange(len(text)), form.to(text.device)]
            cond = dataclasses.replace(cond or RawCondition(), text=text, text_mask=text != PAD)
        x = self.spec.encode(stored)
        if self.spec.context_shape is not None:
            cond = dataclasses.replace(cond or RawCondition(), context=self._degraded(x, ids, index))
        return Batch(x, ids, cond, index)

    def _degraded(self, x: Tensor, ids: Tensor, index: Tensor | None) -> Tensor:
        """The degraded copies (B, *context_shape)."""
        degradation, rng = Degradation.of(self.spec), Rng(0, x.device)
        if degradation is None or self.spec.levels is None:
            raise DataError(f"{self.spec.name} is to have pictures to start from, but its preprocessing has none.")
        if index is None:
            return degradation.apply(x, self.spec.levels, rng, ids)
        return degradation.apply(x, self.spec.levels, rng.child("training"), index)

    def select(self, rows: Tensor | slice) -> Records:
        """Some rows as records of their own."""
        return dataclasses.replace(self, **{f: picked(getattr(self, f), rows) for f in _PER_RECORD})

    def to(self, device: torch.device | str) -> Records:
        """The same records with their values on `device`; ids stay on the CPU, where they are read."""
        on_device = ("stored", "labels", "text", "attributes", "present")
        moved: dict[str, Any] = {f: v.to(device) for f in on_device if (v := getattr(self, f)) is not None}
        return dataclasses.replace(self, **moved)

    def name(self, row: int) -> str:
        """The name of a record in messages: its name, or its id."""
        return self.names[row] if self.names is not None else f"record {int(self.ids[row])}"


@dataclass(frozen=True)
class Dataset:
    """Loaded data, in memory.

    Attributes:
        spec: what the records are
        splits: the records of "train", "validation" and "test", those that there are
        problems: records that were left out, and why
        notes: what is unusual in the source but usable, or is not used
        files: of a folder, what became of its files
        changes: records that reading changed, and how: salts that molecules lost, and the like

    Example:
        >>> data = mg.load_data("digits")
        >>> data.spec.shape, sorted(data.splits)
        ((1, 8, 8), ['test', 'train', 'validation'])
    """

    spec: DataSpec
    splits: Mapping[str, Records]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: Files | None = None
    changes: list[Problem] = field(default_factory=list)

    def reading_notes(self) -> list[str]:
        """Facts about the data to know before their use, one sentence each."""
        said = [str(self.files)] if self.files is not None else []
        if self.problems:
            said.append(f"{len(self.problems):,} records are left out: {listed([str(p) for p in self.problems], 3)}")
        if self.changes:
            said.append(f"{len(self.changes):,} records are changed: {listed([str(c) for c in self.changes], 3)}")
        return said + self.notes

    def split(self, name: str) -> Records:
        """The split called `name`. Raises `DataError` that names the splits there are."""
        if name not in self.splits:
            close, there = nearest(name, self.splits), ", ".join(self.splits) or "none"
            hint = f"Did you mean {close[0]!r}?" if close else "Give data that have it, or name one of those."
            raise DataError(f"{self.spec.name} has no split {name!r}; it has {there}. {hint}")
        return self.splits[name]

    @property
    def train(self) -> Records:
        """The training records. Raises `DataError` for a set that is for testing only."""
        return self.split("train")

    @property
    def validation(self) -> Records | None:
        """The records to watch training with, if there are any."""
        return self.splits.get("validation")

    @property
    def test(self) -> Records | None:
        """The records never trained on, if there are any."""
        return self.splits.get("test")
