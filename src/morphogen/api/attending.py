"""Which word drew what in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch.nn.functional as F

from morphogen.api.drawing import (
    CHUNK,
    class_row,
    condition,
    drawer,
    drawn_how,
    guided,
    of_classes,
    tokens_of_words,
    weighted,
)
from morphogen.api.records import as_stored, check_made, device_of
from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.nn.conditioning.word_maps import watched


@dataclass(frozen=True)
class AttentionMaps:
    """Pictures of one prompt, and for each of its words a map over each picture.

    x         (n, C, H, W) as stored, described by `spec`
    words     those that the model read, in order
    maps      (n, words, H, W) float32 in [0, 1]: the share of a pixel's attention that is on the word. The rest, up to
              1, is on the marks of beginning and end, a class or attributes, and the learned key of no word at all
    warnings  what is to be said about the prompt, as of `draw`
    """

    x: np.ndarray
    spec: DataSpec
    words: tuple[str, ...]
    maps: np.ndarray
    warnings: tuple[str, ...] = ()


def attention_maps(
    model: Path | str,
    prompt: str,
    n: int = 1,
    seed: int = 0,
    *,
    negative: str | None = None,
    label: str | int | None = None,
    device: str = "cpu",
    **how: Any,
) -> AttentionMaps:
    """Draw `n` pictures of a prompt, those of `draw`, and see which word each pixel looked at.

    A word's map is the weight of cross-attention on its tokens, averaged over heads, layers and steps
    (`nn/word_maps.py`); of guided models only where they were asked for the prompt. It says where a word was read, not
    that it was needed: to know that, draw without it.
    negative, label, device, how    as of `draw`, with its default of guidance

    Raises `UsageError` for a model that reads no text or a prompt without words, and `CapabilityError` for one whose
    places see no single words.
    """
    check_numbers(seed=seed)
    if not 1 <= n <= CHUNK:
        raise UsageError(f"attention is shown for 1 to {CHUNK} pictures at once (got {n}).")
    family = drawer(model, device)
    on, row, read = device_of(family), class_row(family.data, label, family), weighted(family, prompt)
    words = tokens_of_words(family, prompt)
    if not words:
        raise UsageError(f"the prompt {prompt!r} has no words to look at.")
    cond = cast(RawCondition, condition(n, row, read, on))
    size = tuple(getattr(family, "shape", family.data.shape))[1:]  # that of latents, if the model draws those
    asked = drawn_how(family, guided(family, {**how, "negative": negative}))
    said = (*of_classes(family.data, label, how.get("avoid")), *read.warnings)
    with watched(family.networks(), cond, size) as seen:
        x = cast(Any, family).sample(n, cond, Rng(seed, on), **asked)
    found = seen.mean()
    found = found[:, found.shape[1] - read.ids.shape[1] :]  # fields come before the caption
    if found.shape[2:] != x.shape[2:]:
        found = F.interpolate(found, x.shape[2:], mode="bilinear")
    maps = np.stack([check_made(found[:, places].sum(1).cpu()).numpy() for _, places in words], axis=1)
    return AttentionMaps(as_stored(x, family.data), family.data, tuple(word for word, _ in words), maps, said)
