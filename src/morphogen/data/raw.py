"""What a reader hands over: all records of a source in one canonical order, before they are split."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from morphogen.core.columns import Table
from morphogen.core.data_spec import Attribute
from morphogen.core.sequences import Content
from morphogen.data.options import SourceOptions
from morphogen.data.records import Files, Problem, picked

_PER_RECORD = (
    "stored",
    "split",
    "ids",
    "labels",
    "captions",
    "paraphrases",
    "names",
    "attributes",
    "present",
    "groups",
    "sequences",
)


@dataclass(frozen=True)
class Raw:
    """Records as read, pictures already in their final size and channels.

    stored   (N, *shape) uint8 with `levels` values, or float32 with levels None; (N, 0) for sequences
    sequences    the texts of records that are sequences, which `prepare` turns into token ids; content: what they are
    split    the split that each record comes with, or None where there is no such thing
    ids      (N,) int64, or None for 0 .. N-1
    captions     a text each, "" for none; paraphrases: further ones of each record, as many as there are
    bits     the range of picture files with more than 8 bits a value; None where there are none
    files    of a folder: what became of them
    table    the schema of a table, whose cells (N, C) in float64 are `stored`
    groups   records of one group stay together when some are set aside; None: those of equal content do
    notes    what is unusual but usable, or was left aside, said once: a sentence each
    changes  records that reading changed, and how
    """

    stored: Tensor
    levels: int | None = 256
    split: list[str] | None = None
    ids: Tensor | None = None
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    captions: list[str] | None = None
    paraphrases: list[tuple[str, ...]] | None = None
    names: list[str] | None = None
    attributes: Tensor | None = None
    present: Tensor | None = None
    schema: tuple[Attribute, ...] = ()
    groups: list[str] | None = None
    license: str = ""
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bits: int | None = None
    files: Files | None = None
    sequences: list[str] | None = None
    content: Content = "text"
    changes: list[Problem] = field(default_factory=list)
    table: Table | None = None

    @property
    def all_ids(self) -> Tensor:
        """(N,) int64."""
        return torch.arange(len(self.stored)) if self.ids is None else self.ids

    def without(self, bad: Tensor, problems: list[Problem]) -> Raw:
        """The records not marked in `bad` (N,) bool, with their ids kept, and `problems` added."""
        whole = dataclasses.replace(self, ids=self.all_ids, problems=self.problems + problems)
        keep = (~bad).nonzero()[:, 0]
        return dataclasses.replace(whole, **{f: picked(getattr(whole, f), keep) for f in _PER_RECORD})


@dataclass(frozen=True)
class SourceReader:
    """How one source is read: the options that it takes and the function that reads it.

    `read(options)` leaves bad records out and lists them in `Raw.problems`. For a table it is `read(options, known)`,
    with the schema that is known already, or None.
    """

    options: type[SourceOptions]
    read: Callable[..., Raw]
    summary: str
    is_table: bool = False
