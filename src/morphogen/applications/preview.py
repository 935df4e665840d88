"""The preview of a model during training: the records of a sample sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.applications.prompting import classes_in_turn
from morphogen.applications.records import as_stored
from morphogen.core.batch import Batch, RawCondition
from morphogen.core.capabilities import Encodes, Samples
from morphogen.core.family import Family, require
from morphogen.core.rng import Rng
from morphogen.data import Records

SAMPLES, PAIRS = 64, 32


class Preview(NamedTuple):
    """Records in stored units (n, *shape), row by row, and their captions."""

    x: np.ndarray
    captions: Sequence[str] = ()
    samples: bool = False  # all of them, so that they can be compared with records


@torch.no_grad()
def preview(family: Family, held_out: Records, seed: int) -> Preview | None:
    """Make the preview of a model: samples, or held-out records above their reconstructions.

    A model with context pictures shows these above its results. A model that reads captions draws those of held-out
    records, and a model with classes draws all classes in turn. The result is None for a model that can do neither, and
    for records that are not pictures.
    """
    data, on = held_out.spec, family.device
    if not data.is_picture:
        return None
    if Samples in family.capabilities:
        model = require(family, Samples, "sample")
        if data.context_shape is not None:
            seen = _first(held_out).to(on)
            made = model.sample(len(seen), seen.cond, Rng(seed, on))
            assert seen.cond is not None and seen.cond.context is not None
            given = F.interpolate(seen.cond.context, size=made.shape[2:], mode="nearest").expand_as(made)
            return Preview(as_stored(_above(given, made), data))
        cond = _conditions(held_out, SAMPLES) if family.conditional else None
        made = model.sample(SAMPLES, None if cond is None else cond.to(on), Rng(seed, on))
        captions = held_out.captions or []
        named = (
            [captions[i % len(captions)] for i in range(SAMPLES)] if cond is not None and cond.text is not None else []
        )
        return Preview(as_stored(made, data), named, samples=True)
    if Encodes in family.capabilities:
        coder, seen = require(family, Encodes, "reconstruct"), _first(held_out).to(on)
        made = coder.decode(coder.encode(seen.x, seen.cond).mean, seen.cond).mean
        return Preview(as_stored(_above(seen.x, made), data))
    return None


def _first(held_out: Records) -> Batch:
    return held_out.batch(slice(0, PAIRS))


def _conditions(held_out: Records, n: int) -> RawCondition | None:
    """The conditions of held-out records if there are captions, else all classes in turn."""
    if held_out.text is None:
        return classes_in_turn(held_out.spec, n)
    return held_out.batch(torch.arange(n) % len(held_out)).cond


def _above(first: Tensor, second: Tensor) -> Tensor:
    """Rows of eight pictures of `first`, each above its row of `second` (B, C, H, W)."""
    rows = zip(first.to(second.dtype).split(8), second.split(8), strict=True)
    return torch.cat([row for pair in rows for row in pair])
