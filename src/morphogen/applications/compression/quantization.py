"""The integer form of a trained model, what it costs in bits, and the proof and the check that it is exact."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.capabilities import Quantizes, Scores
from morphogen.core.chunks import chunks
from morphogen.core.errors import MorphogenError
from morphogen.core.family import Family, require
from morphogen.core.rng import Rng
from morphogen.data.records import Records

CHUNK = 50  # records scored together
CHECKED = 1000  # records computed again by plain integers


@dataclass(frozen=True)
class Quantization:
    """An integer form and what is known of it.

    layers         name -> the largest sum that can occur in it, in integer units; all are below 2^53
    before, after  bits per dimension of the records before and after, for each (n,)
    checked        outputs of layers that were computed again by plain integers, all of them equal
    """

    family: Family
    layers: dict[str, int]
    before: Tensor
    after: Tensor
    checked: int

    @property
    def loss(self) -> float:
        """By how much the mean rises, as a share of it."""
        before = float(self.before.mean())
        return float(self.after.mean()) / before - 1.0


def quantize(family: Family, records: Records, bits: int, check: int) -> Quantization:
    """Make the integer form, prove its sums, and measure and check it on `records`.

    Raises `CapabilityError` for a family that has none, and `MorphogenError` where a layer is not exact.
    """
    made: Family = require(family, Quantizes, "quantize").quantized(bits)
    form = require(made, Quantizes, "quantize")
    layers, before = form.sums(), _bits(family, records)
    try:
        with form.plainly(random.Random(0).randrange) as seen:
            head = _bits(made, records.select(slice(0, check)))
    except ArithmeticError as error:
        raise MorphogenError(f"the integer form is not exact on this machine: {error}") from None
    after = torch.cat((head, _bits(made, records.select(slice(check, len(records)))))) if len(records) > check else head
    return Quantization(made, layers, before, after, sum(seen.values()))


def _bits(family: Family, records: Records) -> Tensor:
    """Bits per dimension of each record; where the family draws noise, the same for every form of it."""
    scores, found = require(family, Scores, "measure"), []
    for part in chunks(len(records), CHUNK):
        x = records.spec.encode(records.stored[part])
        found.append(scores.score(x, None, Rng(0).shifted(part.start)).value.double())
    return -torch.cat(found) / (records.spec.dimensions * math.log(2.0))
