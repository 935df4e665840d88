"""Texts as read become records: token ids by a tokenizer of their own, or by that of a model's data."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.core.printable import shortened
from morphogen.core.sequences import SequenceSchema
from morphogen.data.raw import Raw
from morphogen.data.records import Problem
from morphogen.data.sequences.tokenizers import describe, to_ids

LONGEST = 1024  # tokens of a text, where nothing says how many are read
_MAX_LISTED = 10


def encoded(
    raw: Raw, source: str, options: Any, like: DataSpec | None, strict: bool
) -> tuple[Raw, SequenceSchema | None]:
    """`raw` with the token ids of its texts, and how they are read.

    With `like`, they are read by its tokenizer and have its attributes, by name. Texts that cannot be read are left out
    and listed; where that is not allowed, they are a `DataError`.
    """
    texts = raw.sequences or []
    if like is not None:
        if like.sequence is None:
            raise DataError(f"{source}: these records are texts, but the model's data {like.source!r} are not.")
        schema = like.sequence
        raw = _like_attributes(raw, like)
    else:
        longest = options.longest if options.longest is not None else LONGEST
        training = [text for i, text in enumerate(texts) if raw.split is None or raw.split[i] == "train"] or texts
        schema = describe(options.tokens, training, longest, getattr(options, "vocabulary", 0))
        schema = schema.replace(content="molecules" if raw.content == "molecules" else "text")
    stored, refused = to_ids(schema, texts)
    problems = [Problem(_named(raw, row, texts[row]), why) for row, why in refused.items()]
    if problems and strict and not getattr(options, "skip_bad", False):
        raise DataError(_listing(source, problems))
    bad = torch.zeros(len(texts), dtype=torch.bool)
    bad[list(refused)] = True
    groups = texts if raw.groups is None else raw.groups  # equal texts stay in one split
    raw = dataclasses.replace(raw, stored=stored, levels=schema.vocabulary, groups=groups)
    return raw.without(bad, problems), schema


def with_ranges(raw: Raw, train: torch.Tensor) -> Raw:
    """`raw` whose real-valued attributes know their range in the training records."""
    if raw.attributes is None or all(a.values or a.low is not None for a in raw.schema):
        return raw
    schema = []
    for i, attribute in enumerate(raw.schema):
        values = raw.attributes[train, i].double()
        known = values[raw.present[train, i]] if raw.present is not None else values
        if attribute.values or attribute.low is not None or not len(known):
            schema.append(attribute)
        else:
            schema.append(attribute.replace(low=float(known.min()), high=float(known.max())))
    return dataclasses.replace(raw, schema=tuple(schema))


def _like_attributes(raw: Raw, like: DataSpec) -> Raw:
    """The attributes of `like`, by name; those that these data lack are not known."""
    if not like.attributes:
        return dataclasses.replace(raw, attributes=None, present=None, schema=())
    here = {a.name: i for i, a in enumerate(raw.schema) if raw.attributes is not None}
    n = len(raw.sequences or [])
    values, present = torch.zeros(n, len(like.attributes)), torch.zeros(n, len(like.attributes), dtype=torch.bool)
    for j, attribute in enumerate(like.attributes):
        i = here.get(attribute.name)
        if i is not None and raw.attributes is not None:
            values[:, j] = raw.attributes[:, i]
            present[:, j] = True if raw.present is None else raw.present[:, i]
    return dataclasses.replace(raw, attributes=values, present=present, schema=tuple(like.attributes))


def _named(raw: Raw, row: int, text: str) -> str:
    return raw.names[row] if raw.names is not None else shortened(text)


def _listing(source: str, problems: list[Problem]) -> str:
    lines = [f"\n  {problem}" for problem in problems[:_MAX_LISTED]]
    lines += [f"\n  and {len(problems) - _MAX_LISTED:,} more"] * (len(problems) > _MAX_LISTED)
    return (
        f"{source}: {len(problems):,} texts cannot be read; mend them, allow longer ones with the option longest, or"
        f" leave them out with the option skip_bad:{''.join(lines)}"
    )
