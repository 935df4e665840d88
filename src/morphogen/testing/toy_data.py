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
