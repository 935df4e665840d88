"""The data of the checks: points around a circle in four classes, and captions that say the class of a record."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from morphogen.core.data_spec import DataSpec, TextSchema
from morphogen.core.rng import Rng
from morphogen.data import Records, tokenizer
from morphogen.data.sequences.tokenizers import describe, to_ids
from morphogen.data.tokenizer import Tokenizer

_NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def ring(n: int, seed: int) -> Records:
    """Points around eight centers on a circle, sigma 0.05; the class is the quadrant."""
    rng = Rng(seed).child("ring")
    which = rng.integers("center", n, 8)
    angle = (which + 0.5) * (math.pi / 4)
    points = 0.75 * torch.stack((angle.cos(), angle.sin()), 1) + 0.05 * rng.normal("spread", n, (2,))
    spec = DataSpec(name="ring", shape=(2,), kind="continuous", classes=("0", "1", "2", "3"))
    ids = torch.arange(n) + seed * 1_000_000
    return Records(spec, points.clamp(-1, 1), ids, labels=which // 2)


def words(n: int, seed: int) -> Records:
    """Words of a letter that is the class, three to nine times, and a full stop or none."""
    rng = Rng(seed).child("words")
    label, length = rng.integers("letter", n, 4), 3 + rng.integers("length", n, 7)
    stop = rng.uniform("stop", n) < 0.3
    texts = ["abcd"[k] * m + "." * s for k, m, s in zip(label.tolist(), length.tolist(), stop.tolist(), strict=True)]
    schema = describe("characters", ["abcd" * 2 + "..", "aaaa."], None)  # up to ten letters and stops
    spec = DataSpec(
        name="words",
        shape=(schema.longest,),
        kind="sequence",
        levels=schema.vocabulary,
        sequence=schema,
        classes=("a", "b", "c", "d"),
    )
    stored, _ = to_ids(schema, texts)
    return Records(spec, stored, torch.arange(n) + seed * 1_000_000, labels=label)


def caption_of(label: int) -> str:
    """The caption of every record of a class."""
    return f"class {_NUMERALS[label]}"


def text_schema() -> TextSchema:
    """The tokenizer of the captions."""
    return tokenizer.describe([caption_of(label) for label in range(10)] * 2, vocabulary=256, longest=16)


def with_captions(records: Records, schema: TextSchema) -> Records:
    """The same records, each with the name of its class as a caption."""
    captions = [caption_of(label) for label in cast(Tensor, records.labels).tolist()]
    text = Tokenizer.of(schema).ids(captions, schema.longest)[:, None]
    return replace(records, spec=records.spec.replace(text=schema), captions=captions, text=text)
