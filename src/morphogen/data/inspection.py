"""`inspect`: describe the data and their problems before a training."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.core.printable import printable
from morphogen.core.sequences import lengths
from morphogen.data.in_memory import AnyData
from morphogen.data.load import load
from morphogen.data.molecules.chemistry import is_installed
from morphogen.data.molecules.inspection import inspect_molecules
from morphogen.data.molecules.writing import as_smiles
from morphogen.data.records import Dataset, Files, Problem, Records
from morphogen.data.sequences.tokenizers import to_texts
from morphogen.data.tables.choices import schema_text


@dataclass(frozen=True)
class Inspection:
    """What data hold, and what is wrong with them.

    Attributes:
        counts: records in each split
        balance: split -> class -> records; empty without classes. "?" counts records of unknown class
        duplicates: groups of records with exactly equal content, each as "split/name"
        low, high: the smallest and the largest stored value; None for tables, whose columns have ranges of their own
        problems: records that cannot be used and were left out
        notes: what is unusual in the source but usable, or is not used
        sequences: of texts: how long they are, examples, and for molecules their scaffolds and properties

    Example:
        >>> mg.inspect_data("digits").counts["train"]
        1398
    """

    spec: DataSpec
    counts: Mapping[str, int]
    balance: Mapping[str, Mapping[str, int]]
    duplicates: tuple[tuple[str, ...], ...]
    low: float | None
    high: float | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    dataset: Dataset
    sequences: Mapping[str, Any] | None = None

    @property
    def files(self) -> Files | None:
        """The use of each file of a folder; None for other sources."""
        return self.dataset.files

    @property
    def duplicates_across_splits(self) -> tuple[tuple[str, ...], ...]:
        """Those groups of duplicates that have members in more than one split."""
        return tuple(g for g in self.duplicates if len({m.partition("/")[0] for m in g}) > 1)

    @property
    def schema(self) -> str:
        """The schema of a table as a YAML file, to change and to keep beside the table.

        Raises `DataError` for data that are no table.
        """
        if self.spec.table is None:
            raise DataError(f"{self.spec.name} is no table, and has no schema.")
        return schema_text(self.spec.table)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "spec": self.spec.to_dict(),
            "counts": dict(self.counts),
            "balance": {split: dict(classes) for split, classes in self.balance.items()},
            "duplicates": [list(group) for group in self.duplicates],
            "duplicates_across_splits": [list(group) for group in self.duplicates_across_splits],
            "low": self.low,
            "high": self.high,
            "problems": [{"record": p.record, "what": p.what} for p in self.problems],
            "notes": list(self.notes),
            "changes": [{"record": c.record, "what": c.what} for c in self.dataset.changes],
            "sequences": None if self.sequences is None else dict(self.sequences),
            "files": None if self.files is None else self.files.to_dict(),
        }

    def _repr_html_(self) -> str:
        size = " x ".join(map(str, self.spec.shape))
        counts = "".join(f"<tr><th>{_html(split)}</th><td>{n:,}</td></tr>" for split, n in self.counts.items())
        found = [f"{len(self.duplicates):,} groups of duplicates", f"{len(self.problems):,} records cannot be used"]
        notes = "".join(f"<li>{_html(note)}</li>" for note in (*found, *self.notes))
        return (
            f"<p><b>{_html(self.spec.name)}</b>: {self.spec.kind} records of shape {size},"
            f" {len(self.spec.classes):,} classes</p><table>{counts}</table><ul>{notes}</ul>"
        )

    def examples(self, n: int) -> Tensor:
        """`n` pictures (or all, if there are fewer), evenly spread over the first split: (n, C, H, W) uint8.

        As sheets of samples, by the affine map of the whole range of x to 0 .. 255, for levels and real numbers alike.
        """
        if not self.spec.is_picture:
            raise DataError(f"records of {self.spec.name} are no pictures but have shape {self.spec.shape}.")
        records = next(iter(self.dataset.splits.values()))
        rows = torch.arange(min(n, len(records))) * len(records) // max(1, min(n, len(records)))
        low, high = self.spec.stored_range
        scaled = (records.stored[rows].cpu().double() - low) * (255.0 / (high - low))
        return scaled.round().clamp(0.0, 255.0).to(torch.uint8)


def inspect(source: AnyData) -> Inspection:
    """Examine a source, or data that are loaded. Bad records are listed, not raised."""
    dataset = source if isinstance(source, Dataset) else load(source, strict=False)
    splits, is_table = dataset.splits, dataset.spec.table is not None
    return Inspection(
        spec=dataset.spec,
        counts={name: len(records) for name, records in splits.items()},
        balance={n: _balance(r) for n, r in splits.items() if r.labels is not None},
        duplicates=_duplicates(splits),
        low=None if is_table else min(float(r.stored.min()) for r in splits.values()),
        high=None if is_table else max(float(r.stored.max()) for r in splits.values()),
        problems=tuple(dataset.problems),
        notes=tuple(dataset.notes),
        dataset=dataset,
        sequences=_sequences(splits),
    )


def _sequences(splits: Mapping[str, Records]) -> dict[str, Any] | None:
    """What texts are like; None for other records."""
    records = next(iter(splits.values()))
    schema = records.spec.sequence
    if schema is None:
        return None
    counts = lengths(records.stored).double()
    quantiles = torch.quantile(counts[:: max(1, len(counts) // 10_000)], torch.tensor([0.05, 0.5, 0.95]).double())
    texts = to_texts(schema, records.stored)
    found = {
        "tokens_5_50_95_percent": quantiles.round().long().tolist(),
        "longest": int(counts.max()),
        "examples": texts[:3],
    }
    if schema.content == "molecules" and is_installed():
        found |= inspect_molecules(as_smiles(schema, texts))
    return found


def _html(text: str) -> str:
    return escape(printable(text))


def _balance(records: Records) -> dict[str, int]:
    assert records.labels is not None
    classes = [*records.spec.classes, "?"]
    counts = torch.bincount(records.labels % len(classes), minlength=len(classes)).tolist()  # -1 is the last
    return {c: n for c, n in zip(classes, counts, strict=True) if c != "?" or n}


def _duplicates(splits: Mapping[str, Records]) -> tuple[tuple[str, ...], ...]:
    members: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for name, records in splits.items():
        stored = records.stored.cpu().numpy()
        for row in range(len(stored)):
            members[hashlib.sha256(stored[row].tobytes()).digest()].append((name, row))
    groups = (g for g in members.values() if len(g) > 1)
    return tuple(tuple(f"{split}/{splits[split].name(row)}" for split, row in g) for g in groups)
