"""The options of sources of texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from morphogen.core.sequences import MAX_LENGTH, MAX_VOCABULARY
from morphogen.data.options import Share, SourceOptions


class SequenceOptions(SourceOptions):
    """How texts become tokens.

    tokens      "characters", or "trained": byte pairs, learned from the texts
    vocabulary  trained: the most different ids
    longest     the most tokens of a text, its end included; None: as many as the longest text has
    skip_bad    leave out texts that cannot be read, and list them
    """

    preparation = ("tokens", "vocabulary")
    tokens: Literal["characters", "trained"] = "characters"
    vocabulary: Annotated[int, Field(ge=260, le=MAX_VOCABULARY)] = 1024
    longest: Annotated[int, Field(ge=2, le=MAX_LENGTH)] | None = None
    validation: Share = 0.05
    test: Share = 0.10
    skip_bad: bool = False
