"""New records from a model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Pictures
from morphogen.api.results.shown import warn_of
from morphogen.applications.prompt_grids import draw_prompts
from morphogen.applications.prompting import class_index, class_notes, constant_condition, read_weighted_prompt
from morphogen.applications.records import as_stored
from morphogen.applications.sampling import (
    chunk_size,
    require_sampler,
    resolve_sampling_options,
    sample_in_chunks,
)
from morphogen.core.family import Family
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Noise, Rng
from morphogen.sampling.noise import Walk
from morphogen.trainer import compile as compilation


def sample(
    model: AnyModel,
    n: int = 64,
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
    temperature: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    options: Mapping[str, Any] | None = None,
    exact: bool = False,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str = "fp32",
    compile: bool = False,
) -> Pictures:
    """Draw `n` new records. Sample i depends on (seed, i, label, text) only.

    Args:
        model: a held model, or the path of a model directory.
        n: how many.
        seed: where the noise starts, from 0 to 2^64 - 1.
        label: a class, by name or position, for all of them.
        text: a prompt for all of them; `(words:1.3)` count 1.3 times.
        negative: a prompt that guidance leads away from.
        avoid: a class that guidance leads away from.
        guidance: scale towards the class or text; 1 is none.
        guidance_interval: the times t, from 0 (record) to 1 (noise), between which guidance acts.
        autoguidance: scale of the way from the weaker part "guide"; 1 is none.
        stepper: how a denoiser steps: ddpm, ddim, euler, heun, dpm++2m, unipc, ...
        steps: from noise to record.
        grid: the times of the steps: uniform, karras, angle, ...
        temperature: below 1 for less variety; 1 is as trained.
        truncation: of a GAN, below 1 for latents nearer to their mean.
        candidates: of a GAN, each sample is the discriminator's choice of so many.
        options: further options that the `sample` of a family of one's own takes, by name.
        exact: give the same bits whatever `n` is; without it, another `batch_size` agrees to within 1/255.
        batch_size: how many are drawn together.
        device: where to draw; None leaves a held model where it is.
        precision: fp32, bf16 (about twice as fast where the hardware multiplies in it) or auto.
        compile: first compile the network of a diffusion or flow model: half a minute, which thousands of samples pay.

    Returns:
        The records, with `warnings` that say which words of the prompt the model hardly knows.

    Raises:
        UsageError: an option that the family does not take, or a number out of its range.
        CapabilityError: a model that draws nothing.
        NonFiniteError: the network gave NaN or infinity.

    Example:
        >>> pictures = mg.sample("runs/first", n=16, seed=1)
        >>> pictures.save("samples.png")
    """
    given: dict[str, Any] = {
        "negative": negative,
        "avoid": avoid,
        "guidance": guidance,
        "guidance_interval": guidance_interval,
    }
    given |= {"autoguidance": autoguidance, "stepper": stepper, "steps": steps, "grid": grid}
    given |= {"temperature": temperature, "truncation": truncation, "candidates": candidates, **(options or {})}
    check_numbers(n=n, seed=seed, batch_size=batch_size)
    family = open_model(model, device).module
    size = chunk_size(n, batch_size, exact, compile)
    noise, padded = Rng(seed, family.device), exact or compile
    return _pictures(family, n, noise, given, label, text, precision, size=size, padded=padded, compiled=compile)


def walk(
    model: AnyModel,
    frames: int = 96,
    stops: int = 6,
    seed: int = 0,
    *,
    label: str | int | None = None,
    text: str | None = None,
    guidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> Pictures:
    """Draw a closed walk: pictures that turn into each other, through the first `stops` samples of this seed.

    Noise moves on great circles from each stop to the next and from the last to the first (`sampling/noise.py`), so
    that every frame is a sample of the model. Stop k is frame k frames / stops, where that is whole.

    Args:
        model: a held model, or the path of a model directory, that makes its samples from normal noise.
        frames: pictures in all.
        stops: samples that the walk leads through.
        seed: its stops are the first samples of this seed.
        label, text, guidance, stepper, steps, grid, temperature, truncation, candidates, options, device, precision:
            as of `sample`.

    Returns:
        The frames in order; frame 0 follows the last one.

    Raises:
        UsageError: fewer than two stops, or fewer frames than stops.
        CapabilityError: a model that also chooses among things that have nothing in between.

    Example:
        >>> mg.walk("runs/first", frames=24, stops=3).save("walk.png")
    """
    given: dict[str, Any] = {"guidance": guidance, "stepper": stepper, "steps": steps, "grid": grid}
    given |= {"temperature": temperature, "truncation": truncation, "candidates": candidates, **(options or {})}
    check_numbers(frames=frames, stops=stops, seed=seed)
    family = open_model(model, device).module
    noise = Walk(Rng(seed, family.device), frames, stops)
    return _pictures(family, frames, noise, given, label, text, precision, columns=frames // stops)


def draw(
    model: AnyModel,
    prompts: str | Sequence[str],
    n: int | None = None,
    seed: int = 0,
    *,
    negative: str | None = None,
    to: str | None = None,
    frames: int = 8,
    along: Mapping[str, Sequence[float]] | None = None,
    label: str | int | None = None,
    guidance: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    autoguidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | Mapping[str, Sequence[float]] | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    options: Mapping[str, Any] | None = None,
    exact: bool = False,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> Pictures:
    """Draw `n` pictures of each prompt in a row. Picture j of a prompt depends on it, seed and j alone.

    Args:
        model: a held model that reads text, or the path of its directory.
        prompts: one or several; `(words:1.3)` count 1.3 times.
        n: pictures of each prompt, by default 4, and 1 along something.
        seed: where the noise starts.
        negative: a prompt that guidance leads away from.
        to: another prompt, to which the pictures lead in `frames` steps: n rows, each of the same noise.
        frames: pictures on that way.
        along: {"guidance": scales} or {"seed": seeds}: the first picture of each prompt at each of them, in columns.
        label, guidance, guidance_interval, autoguidance, stepper, steps, grid, temperature, truncation, candidates,
            options, exact, batch_size, device, precision: as of `sample`, with which it agrees at the same guidance.
            Where the model was trained to also draw without a condition, and says nothing else, guidance is 4.

    Returns:
        The pictures, row by row of `columns`, and in `options` those of sampling in effect.

    Raises:
        UsageError: a model that reads no text, options that its family does not take, a negative prompt at guidance 1.

    Example:
        >>> mg.draw("runs/words", "a small red circle", n=4).save("circles.png")
    """
    if isinstance(grid, Mapping):
        warnings.warn("draw(grid={...}) is now draw(along={...}).", DeprecationWarning, stacklevel=2)
        along, grid = grid, None
    given: dict[str, Any] = {"guidance": guidance, "guidance_interval": guidance_interval, "autoguidance": autoguidance}
    given |= {"stepper": stepper, "steps": steps, "grid": grid, "temperature": temperature}
    given |= {"truncation": truncation, "candidates": candidates, **(options or {})}
    family = open_model(model, device).module
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    way: dict[str, Any] = {"negative": negative, "to": to, "frames": frames, "grid": along, "label": label}
    way |= {"exact": exact, "batch_size": batch_size, "precision": precision, "options": given}
    found = draw_prompts(family, texts, n, seed, **way)
    x = as_stored(found.x.flatten(0, 1), family.data)
    labels = None if found.row is None else np.full(len(x), found.row)
    return Pictures(x, family.data, None, labels, warn_of(found.notes), columns=found.x.shape[1], options=found.options)


def _pictures(
    family: Family,
    n: int,
    noise: Noise,
    options: Mapping[str, Any],
    label: str | int | None,
    text: str | None,
    precision: str,
    *,
    size: int | None = None,
    padded: bool = False,
    compiled: bool = False,
    columns: int = 0,
) -> Pictures:
    """`n` samples of noise, all of one class and prompt."""
    require_sampler(family)
    notes = class_notes(family.data, label, options.get("avoid"))
    given = resolve_sampling_options(family, options)
    networks = compilation.wrap_for_drawing(family) if compiled else []
    row = class_index(family, label)
    words = None if text is None else read_weighted_prompt(family, text)
    x = sample_in_chunks(
        family,
        n,
        lambda rows: constant_condition(len(rows), row, words, family.device),
        noise,
        given,
        precision=precision,
        size=size or chunk_size(n, None, False, False),
        padded=padded,
    )
    labels = None if row is None else np.full(n, row)
    slow = [network.warning for network in networks if network.warning is not None]
    said = warn_of((*notes, *(words.warnings if words else ()), *slow))
    return Pictures(as_stored(x, family.data), family.data, None, labels, said, columns=columns)
