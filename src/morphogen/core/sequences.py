"""Sequences as records: token ids x (L,), the tokens of a text, then the end, then padding.

    t_1 ... t_n END PAD ... PAD,   0 <= n < L.

Three ids are the same in every vocabulary: padding, the begin (which stands in no record: it is what a model reads
before the first token) and the end. So a record says its own length, and the mass of a distribution over all records of
this form is the mass over all texts of fewer than L tokens.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import pydantic
import torch
from torch import Tensor

from morphogen.core.spec import Spec

PADDING, BEGIN, END = 0, 1, 2
SPECIAL = 3  # ids from here on are tokens
MAX_LENGTH = 1 << 16
MAX_VOCABULARY = 1 << 20

TokenizerName = Literal["characters", "smiles", "selfies", "trained"]
Content = Literal["text", "molecules"]


class SequenceSchema(Spec):
    """How texts become token ids and back.

    tokenizer    "characters"; "smiles": atoms, bonds and brackets; "selfies": its symbols; "trained": byte pairs
    content      what the texts are
    vocabulary   number of different ids, with those of padding, begin and end
    longest      L, the most tokens of a record, with its end
    fingerprint  sha256 of `definition`
    definition   the tokenizer itself, as the text of its JSON file. `to_dict` leaves it out: an artifact keeps it in a
                 separate file, and the fingerprint identifies it.
    """

    tokenizer: TokenizerName
    content: Content = "text"
    vocabulary: int = pydantic.Field(gt=SPECIAL, le=MAX_VOCABULARY)
    longest: int = pydantic.Field(ge=2, le=MAX_LENGTH)
    fingerprint: str
    definition: str = pydantic.Field("", repr=False)

    @pydantic.model_validator(mode="after")
    def _one_definition(self) -> SequenceSchema:
        if self.definition and hashlib.sha256(self.definition.encode()).hexdigest() != self.fingerprint:
            raise ValueError("the tokenizer is not the one that the fingerprint was taken of")
        return self

    @pydantic.model_serializer(mode="wrap")
    def _without_the_definition(self, plain: Any, info: pydantic.SerializationInfo) -> dict[str, Any]:
        values: dict[str, Any] = plain(self)
        if info.mode == "json":
            del values["definition"]
        return values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SequenceSchema) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.fingerprint, self.longest))


def lengths(x: Tensor) -> Tensor:
    """n, the number of tokens before the end, of sequences x (*batch, L); L where there is no end: (*batch)."""
    is_end = x == END
    return torch.where(is_end.any(-1), is_end.int().argmax(-1), x.shape[-1])


def well_formed(x: Tensor) -> Tensor:
    """Whether x (*batch, L) is tokens, one end, and padding after it: (*batch) bool."""
    place = torch.arange(x.shape[-1], device=x.device)
    n = lengths(x)[..., None]
    right = torch.where(place < n, x >= SPECIAL, torch.where(place == n, x == END, x == PADDING))
    return right.all(-1) & (n[..., 0] < x.shape[-1])
