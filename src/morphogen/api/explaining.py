"""What a model does inside, to be looked at: its chain, its variances, its attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch.nn.functional as F

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import AttentionMaps, Chain, Variances
from morphogen.api.results.shown import warn_of
from morphogen.applications.chains import forward_states, measure_variances, reverse_states
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
from morphogen.data.in_memory import AnyData
from morphogen.nn.conditioning.word_maps import watched


def forward_chain(
    model: AnyModel,
    data: AnyData,
    n: int = 6,
    *,
    times: int = 10,
    seed: int = 0,
    split: str = "test",
    device: str | None = None,
) -> Chain:
    """Follow records on their way into noise: x_t ~ q(x_t | x_0), with one noise a record.

    Args:
        model: a held diffusion or flow model, or the path of its directory.
        data: a source, arrays or a loaded `Dataset`, prepared as the model's data were.
        n: how many records of the split.
        times: at so many times, uniform in arctan(sigma_t / alpha_t), so equally noisy for every schedule.
        seed: where the noise starts.
        split: "train", "validation" or "test".
        device: where to compute; None leaves a held model where it is.

    Returns:
        The states of each record.

    Raises:
        CapabilityError: a model that does not denoise.

    Example:
        >>> mg.forward_chain("runs/diffusion", "digits", n=2).save("into-noise.png")
    """
    held = open_model(model, device)
    found, records = forward_states(held.module, data, n, times, seed, split)
    labels = None if records.labels is None else records.labels.numpy()
    return Chain(found.x, found.t, found.log_snr, held.data, ids=records.ids.numpy(), labels=labels)


def reverse_chain(
    model: AnyModel,
    n: int = 6,
    seed: int = 0,
    *,
    label: str | int | None = None,
    text: str | None = None,
    negative: str | None = None,
    avoid: str | int | None = None,
    guidance: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    autoguidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    options: Mapping[str, Any] | None = None,
    times: int | None = 10,
    device: str | None = None,
) -> Chain:
    """Follow noise on its way to samples: the states, and the estimates E[x_0 | x_t].

    Args:
        model: a held diffusion or flow model, or the path of its directory.
        n, seed, label, text, negative, avoid, guidance, guidance_interval, autoguidance, stepper, steps, grid, options:
            as of `sample`; the last states are what it gives, bit for bit.
        times: how many of the states, or all for None.
        device: where to compute; None leaves a held model where it is.

    Returns:
        The states and estimates of each sample.

    Raises:
        CapabilityError: a model that does not denoise.
        UsageError: a model that makes pictures from pictures.

    Example:
        >>> mg.reverse_chain("runs/diffusion", n=2).save("from-noise.png")
    """
    given: dict[str, Any] = {"negative": negative, "avoid": avoid, "guidance": guidance}
    given |= {"guidance_interval": guidance_interval, "autoguidance": autoguidance, "stepper": stepper}
    given |= {"steps": steps, "grid": grid, **(options or {})}
    held = open_model(model, device)
    found = reverse_states(held.module, n, seed, label, text, times, given)
    labels = None if found.row is None else np.full(n, found.row)
    said = warn_of(found.notes)
    return Chain(found.x, found.t, found.log_snr, held.data, found.estimates, labels=labels, warnings=said)


def variances(
    model: AnyModel,
    data: AnyData,
    n: int = 256,
    *,
    steps: int | None = None,
    grid: str | None = None,
    seed: int = 0,
    split: str = "test",
    device: str | None = None,
) -> Variances:
    """Measure the learned variance of the reverse chain between its bounds (Nichol and Dhariwal, 2021).

    The strides are those of `grid` in `steps` steps but for the last, onto t = 0, whose beta_tilde is 0.

    Args:
        model: a held diffusion model with a learned variance, or the path of its directory.
        data: a source, arrays or a loaded `Dataset`, prepared as the model's data were.
        n: how many records to average over, at least 2.
        steps, grid: of the chain; None takes the model's own.
        seed: where the noise starts.
        split, device: as of `forward_chain`.

    Returns:
        The variances of each stride.

    Raises:
        UsageError: a model whose variance is fixed.

    Example:
        >>> mg.variances("runs/diffusion", "digits", n=16).save("variances.png")
    """
    return Variances(*measure_variances(open_model(model, device).module, data, n, steps, grid, seed, split))


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
