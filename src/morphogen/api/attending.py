"""Which word drew what in a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch.nn.functional as F

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import AttentionMaps
from morphogen.api.results.shown import warn_of
from morphogen.applications.prompting import (
    class_index,
    class_notes,
    constant_condition,
    read_weighted_prompt,
    tokens_of_words,
)
from morphogen.applications.records import as_stored, check_made
from morphogen.applications.sampling import (
    CHUNK,
    require_sampler,
    resolve_sampling_options,
    with_default_guidance,
)
from morphogen.core.errors import UsageError
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.nn.conditioning.word_maps import watched


def attention_maps(
    model: AnyModel,
    prompt: str,
    n: int = 1,
    seed: int = 0,
    *,
    negative: str | None = None,
    label: str | int | None = None,
    guidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> AttentionMaps:
    """Draw `n` pictures of a prompt, those of `draw`, and see which word each pixel looked at.

    A word's map is the weight of cross-attention on its tokens, averaged over heads, layers and steps; of guided models
    only where they were asked for the prompt. It says where a word was read, not that it was needed: to know that, draw
    without it.

    Args:
        model: a held model with cross-attention to words, or the path of its directory.
        prompt: what to draw.
        n: how many pictures, at most 64.
        seed, negative, label, guidance, stepper, steps, grid, temperature, truncation, options, device: as of `draw`.

    Returns:
        The pictures, the words and a map of each word over each picture.

    Raises:
        UsageError: a model that reads no text, or a prompt without words.
        CapabilityError: a model whose places see no single words.

    Example:
        >>> mg.attention_maps("runs/words", "a small red circle").save("words.png")
    """
    if not 1 <= n <= CHUNK:
        raise UsageError(f"attention is shown for 1 to {CHUNK} pictures at once (got {n}).")
    check_numbers(seed=seed)
    family = open_model(model, device).module
    sampler, row, read = require_sampler(family), class_index(family, label), read_weighted_prompt(family, prompt)
    words = tokens_of_words(family, prompt)
    if not words:
        raise UsageError(f"the prompt {prompt!r} has no words to look at.")
    cond = constant_condition(n, row, read, family.device)
    assert cond is not None  # there are words
    given: dict[str, Any] = {"negative": negative, "guidance": guidance, "stepper": stepper, "steps": steps}
    given |= {"grid": grid, "temperature": temperature, "truncation": truncation, **(options or {})}
    asked = resolve_sampling_options(family, with_default_guidance(family, given))
    notes = (*class_notes(family.data, label), *read.warnings)
    with watched(family.networks(), cond, family.drawn_shape[1:]) as seen:
        x = sampler.sample(n, cond, Rng(seed, family.device), **asked)
    found = seen.mean()
    found = found[:, found.shape[1] - read.ids.shape[1] :]  # fields come before the caption
    if found.shape[2:] != x.shape[2:]:
        found = F.interpolate(found, x.shape[2:], mode="bilinear")
    maps = np.stack([check_made(found[:, places].sum(1).cpu()).numpy() for _, places in words], axis=1)
    names = tuple(word for word, _ in words)
    return AttentionMaps(as_stored(x, family.data), family.data, names, maps, warn_of(notes))
