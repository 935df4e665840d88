"""`Batch`, `RawCondition` (as the data give it) and `Condition` (as networks read it)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Tensors:
    """A frozen record of optional tensors, all with the batch in front."""

    def _map(self, function: Any) -> Self:
        changes = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor | _Tensors):
                changes[field.name] = function(value)
        return dataclasses.replace(self, **changes)

    def to(self, device: torch.device | str) -> Self:
        """The same record with its tensors on `device`."""
        return self._map(lambda v: v.to(device))

    def __getitem__(self, rows: Any) -> Self:
        """The record of the rows that a slice or an index tensor selects."""
        return self._map(lambda v: v[rows])


@dataclass(frozen=True)
class RawCondition(_Tensors):
    """What is known about each record, in the data's own terms; every field may be absent.

    label       (B,) int64, a class; -1 where it is not known
    attributes  (B, A) float32; present (B, A) bool says which of them are known
    text        (B, L) int64 token ids; text_mask (B, L) bool, false on padding, or float32 >= 0, how often each token
                counts: once is 1, and 0 is padding
    context     (B, C, H, W), a picture to start from
    towards     another condition with the same number of rows, to blend with this one; share (B,) float32 in [0, 1] is
                the weight of the other one
    """

    label: Tensor | None = None
    attributes: Tensor | None = None
    present: Tensor | None = None
    text: Tensor | None = None
    text_mask: Tensor | None = None
    context: Tensor | None = None
    towards: RawCondition | None = None
    share: Tensor | None = None

    def repeated(self, k: int) -> RawCondition:
        """Each row `k` times in a row."""
        return self._map(lambda v: v.repeated(k) if isinstance(v, RawCondition) else v.repeat_interleave(k, dim=0))

    def alike(self) -> Tensor | None:
        """(B,) int64: the number of each row's condition. Rows with equal conditions have the same number."""
        fields: list[Tensor] = []
        for value, known in (
            (self.label, None),
            (self.attributes, self.present),
            (self.text, self.text_mask),
            (self.context, None),
        ):
            if value is None:
                continue
            value = value.flatten(1).double() if value.ndim > 1 else value[:, None].double()
            if known is not None:
                fields.append(known.double())
                value = torch.where(known.bool(), value, 0.0)  # values that are not known compare as equal
            fields.append(value)
        return torch.cat(fields, 1).unique(dim=0, return_inverse=True)[1] if fields else None

    def kept(self, keep: Tensor, words: Tensor | None = None) -> RawCondition:
        """Drop the label, the attributes and the words of the rows where `keep` (B,) bool is false. The context stays.

        If `words` (B,) bool is given, it decides about the words, and `keep` decides about the label and the
        attributes.
        """
        present, mask = self.present, self.text_mask
        if self.attributes is not None:
            known = torch.ones_like(self.attributes, dtype=torch.bool) if present is None else present
            present = known & keep[:, None]
        if self.text is not None:
            known = torch.ones_like(self.text, dtype=torch.bool) if mask is None else mask
            mask = known * (keep if words is None else words)[:, None]
        return dataclasses.replace(
            self,
            label=None if self.label is None else torch.where(keep, self.label, -1),
            present=present,
            text_mask=mask,
        )


@dataclass(frozen=True)
class Condition(_Tensors):
    """A condition as networks read it.

    tokens  (B, L, D) one token per field or word; mask (B, L) bool, false on padding, or how often each token counts
    pooled  (B, D) all of it in one vector
    context (B, C, H, W) or None
    """

    tokens: Tensor
    mask: Tensor
    pooled: Tensor
    context: Tensor | None = None

    def blended(self, other: Condition, share: Tensor) -> Condition:
        """Blend this condition with `other`; `share` (B,) in [0, 1] is the weight of `other`.

        The result has the tokens of both. The mask weights them by 1 - `share` and by `share`; the pooled vector is
        interpolated. The context is this condition's.
        """
        here, there = (1.0 - share)[:, None], share[:, None]
        return Condition(
            tokens=torch.cat((self.tokens, other.tokens), dim=1),
            mask=torch.cat((here * self.mask, there * other.mask), dim=1),
            pooled=here * self.pooled + there * other.pooled,
            context=self.context,
        )


@dataclass(frozen=True)
class Batch(_Tensors):
    """Records for one step.

    x      (B, *shape) as `DataSpec.kind` says
    ids    (B,) int64, the stable ids of the records in their data set
    cond   their conditions, or None
    index  (B,) int64 on the CPU: each row's place in the endless stream of training samples. It is the address of
           the row's noise, so a step that is split over processes or micro-batches draws the same noise.
    """

    x: Tensor
    ids: Tensor
    cond: RawCondition | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`; `ids` and `index` stay on the CPU, where they are read."""
        cond = None if self.cond is None else self.cond.to(device)
        return dataclasses.replace(self, x=self.x.to(device), cond=cond)

    @property
    def address(self) -> Tensor:
        """`index`, or 0 .. B-1 if the batch belongs to no stream."""
        return torch.arange(len(self)) if self.index is None else self.index


class BatchSource(Protocol):
    """An endless, addressable stream of training batches: a function of (seed, step) alone."""

    batch_size: int  # records per step, over all processes
    records: int  # records in the whole training split

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rows of step `step` that belong to process `rank` of `world`: a contiguous share."""
