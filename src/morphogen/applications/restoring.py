"""Restore a degraded picture with the means of the model: its condition, its chain, or Bayes' rule along the chain.

A model of data with a `context` undoes the degradation of that context: in one call of `sample` for pictures of the
model's size, and along its chain in windows for larger ones. A diffusion or flow-matching model without a context
undoes any degradation by posterior sampling (`applications/restoration.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor

from morphogen.applications.denoising_models import (
    chunked,
    denoising_model,
    guided_denoiser,
    stepper_of,
    time_grid,
)
from morphogen.applications.prompting import class_index, class_notes, constant_condition, read_weighted_prompt
from morphogen.applications.restoration import Restoration, by_condition, by_measurement
from morphogen.applications.sampling import resolve_sampling_options
from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises, Samples
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.core.family import Family, require
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Noise
from morphogen.data.context import Degradation
from morphogen.data.one_picture import Image, by, name_of, options_of, read, values
from morphogen.data.pictures import with_channels

Draw = Callable[[int, Noise], Tensor]


@dataclass(frozen=True)
class _Asked:
    """The degraded picture y (C, h, w), its degradation, and the shape of the result."""

    y: Tensor
    degradation: Degradation
    learned: bool
    shape: tuple[int, ...]


def restore_picture(
    family: Family,
    image: Image,
    degradation: str | None,
    *,
    n: int,
    seed: int,
    label: str | int | None,
    text: str | None,
    stepper: str | None,
    steps: int | None,
    grid: str | None,
    guidance: float | None,
) -> tuple[Restoration, DataSpec, tuple[str, ...]]:
    """Sample `n` possible originals of a degraded picture; see `mg.restore`.

    Returns:
        The samples, their description, and notes for the user.

    Raises:
        UsageError: the model cannot undo the degradation.
        DataError: the picture does not fit the model.
        CapabilityError: the model does not sample.
    """
    check_numbers(n=n, seed=seed, steps=steps, guidance=guidance)
    require(family, Samples, "restore pictures")
    options = {"stepper": stepper, "steps": steps, "grid": grid, "guidance": guidance}
    sampled = resolve_sampling_options(family, options)
    if n < 2:
        raise UsageError(f"an uncertainty needs at least 2 samples: --n (got {n}).")
    asked = _asked(family, image, degradation)
    row, words = class_index(family, label), None if text is None else read_weighted_prompt(family, text)
    on, y = family.device, asked.y

    def known_of(count: int) -> RawCondition | None:
        cond = constant_condition(count, row, words, on)
        return replace(cond or RawCondition(), context=y.expand(count, *y.shape)) if asked.learned else cond

    in_latents = Denoises not in family.capabilities or family.drawn_shape != family.data.shape
    if asked.learned and asked.shape == family.data.shape and in_latents:
        draw = _by_sampling(family, asked, known_of, sampled)
    else:
        draw = _along_chain(family, asked, known_of, stepper, steps, grid, guidance)
    found = Restoration(chunked(draw, n, seed, family, asked.shape[1:]).float())
    notes = (*class_notes(family.data, label), *(() if words is None else words.warnings))
    return found, family.data.replace(shape=asked.shape), notes


def _asked(family: Family, image: Image, degradation: str | None) -> _Asked:
    data, known = family.data, Degradation.of(family.data)
    if degradation is None and known is None:
        raise UsageError("say what the picture has been through: a degradation such as down4, blur1.5, noise0.2, gray.")
    asked = Degradation.parse(degradation) if degradation is not None else cast(Degradation, known)
    learned = asked == known
    if known is not None and not learned and family.needs_context:
        raise UsageError(f"this model was trained to undo {known}, not {asked}: ask for that, or use another model.")
    options = options_of(data)
    channels = "gray" if asked.kind == "gray" else options.channels
    y = values(with_channels(read(image, data), channels, options.background_rgb), data)[0].to(family.device)
    shape = (data.shape[0], y.shape[1] * asked.scale, y.shape[2] * asked.scale)
    asked.shape(shape, data.levels)
    if any(side < least for side, least in zip(shape[1:], data.shape[1:], strict=True)):
        raise DataError(
            f"{name_of(image)} is {by(y.shape[1:])} (height x width) and would become {by(shape[1:])}, smaller than the"
            f" pictures that this model knows, {by(data.shape[1:])}."
        )
    return _Asked(y, asked, learned, shape)


def _by_sampling(
    family: Family, asked: _Asked, known_of: Callable[[int], RawCondition | None], options: dict[str, Any]
) -> Draw:
    """Sample by the family's `sample`, with the degraded picture as the condition."""
    sampler = require(family, Samples, "restore pictures")

    def draw(count: int, rng: Noise) -> Tensor:
        made = sampler.sample(count, known_of(count), rng, **options)
        if family.data.kind != "continuous":
            return made
        return asked.degradation.nearest(made, asked.y.to(made).expand(count, *asked.y.shape))

    return draw


def _along_chain(
    family: Family,
    asked: _Asked,
    known_of: Callable[[int], RawCondition | None],
    stepper: str | None,
    steps: int | None,
    grid: str | None,
    guidance: float | None,
) -> Draw:
    """Sample along the chain of a denoiser of pixels, in windows if the picture is larger than the model's."""
    model, data = denoising_model(family, "restore such pictures"), family.data
    if model.shape != data.shape:
        raise UsageError(
            "this model works in the latent space of its autoencoder: it restores pictures of its own size alone,"
            f" {by(data.shape[1:])}, and what its context= names."
        )
    method = stepper_of(model, stepper)
    times = time_grid(model, method, grid, steps)
    dtype = next(family.parameters()).dtype

    def draw(count: int, rng: Noise) -> Tensor:
        cond = known_of(count)
        denoiser = guided_denoiser(model, asked.shape[1:], guidance, cond)
        how = (denoiser, method, times, asked.shape, count, rng)
        if asked.learned:
            return model.decoded(by_condition(*how, cast(RawCondition, cond), asked.degradation, dtype))
        levels = cast(int, data.levels)
        return model.decoded(by_measurement(*how, asked.y.to(dtype), asked.degradation, levels, cond))

    return draw
