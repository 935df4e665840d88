"""The data of the checks: points on a circle in four classes, captions that say the class of a record, and a table."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from morphogen.core.columns import Column, Table
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


def mixed_table(n: int, seed: int) -> Records:
    """Rows of five columns that depend on each other; the class is the first, and some counts are missing.

    kind      one of three, with probabilities 0.5, 0.3 and 0.2
    size      normal around -1, 0.5 or 2 by kind, on a grid of 0.1
    strength  size^2 plus noise: a real number, not linear in size
    count     0 in kind "a", else Poisson of mean 2 + 2 e^(size / 2); missing in a fifth of the rows of kind "c"
    large     whether strength plus noise is above 1
    """
    rng = Rng(seed).child("table")
    u = rng.uniform("kind", n, (3,), torch.float64)
    z = rng.normal("numbers", n, (3,), torch.float64)
    kind = (u[:, 0] > 0.5).long() + (u[:, 0] > 0.8).long()
    size = (torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)[kind] + 0.4 * z[:, 0]).clamp(-2.5, 3.5)
    size = (size * 10.0).round() / 10.0
    strength = (size.square() + 0.2 * z[:, 1]).clamp(-1.0, 13.0)
    mean = 2.0 + 2.0 * torch.exp(size / 2.0)
    count = torch.where(kind == 0, 0.0, (mean + mean.sqrt() * z[:, 2]).round().clamp(0.0, 25.0))
    count = torch.where((kind == 2) & (u[:, 1] < 0.2), math.nan, count)
    large = (strength + 0.5 * (u[:, 2] - 0.5) > 1.0).double()
    cells = torch.stack((kind.double(), size, strength, count, large), 1)
    spec = DataSpec(
        name="mixed",
        shape=(_TABLE.width,),
        kind="columns",
        table=_TABLE,
        classes=_TABLE.columns[0].values,
        splits={"train": n},
    )
    return Records(spec, cells, torch.arange(n) + seed * 1_000_000, labels=kind)


def _number(name: str, low: float, high: float, resolution: float, missing: float = 0.0) -> Column:
    return Column(name=name, type="number", low=low, high=high, resolution=resolution, missing=missing)


_TABLE = Table(
    columns=(
        Column(name="kind", type="category", values=("a", "b", "c")),
        _number("size", -2.5, 3.5, 0.1),
        _number("strength", -1.0, 13.0, 0.0),
        _number("count", 0.0, 25.0, 1.0, missing=0.04),
        Column(name="large", type="boolean", values=("no", "yes")),
    ),
    target="kind",
)


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
