"""Families that denoise, as editing, restoring and looking at chains use them: grids, steppers, guidance, windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from morphogen.applications.records import check_room
from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises
from morphogen.core.chunks import chunks
from morphogen.core.errors import UsageError
from morphogen.core.family import Family, require
from morphogen.core.rng import Noise, Rng
from morphogen.sampling import grids, steppers
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.guidance import autoguidance, classifier_free
from morphogen.sampling.readout import Readout
from morphogen.sampling.steppers import State
from morphogen.sampling.tiling import Tiled

CHUNK = 16  # pictures of the model's size drawn together; as many fewer as theirs are larger


class DenoisingModel(Denoiser, Protocol):
    """A family that denoises: a denoiser with options, of records or of their latents.

    shape    of what it denoises: that of latents, where an autoencoder stands before it
    readout  how its network's output becomes a posterior
    """

    spec: Any
    parts: Any
    shape: tuple[int, ...]
    readout: Readout

    def encoded(self, x: Tensor, rng: Noise, index: int) -> Tensor:
        """Records (n, *data.shape) to x_0 (n, *shape)."""

    def decoded(self, x_0: Tensor) -> Tensor:
        """The inverse of `encoded`."""

    def guided(self, scale: float, cond: RawCondition | None, **options: Any) -> Denoiser:
        """This denoiser led by guidance."""

    def trajectory(self, n: int, cond: RawCondition | None, rng: Noise, **options: Any) -> Iterator[State]:
        """The states of the reverse chain."""


def denoising_model(family: Family, verb: str) -> DenoisingModel:
    """The family as a denoiser. Raises `CapabilityError` where it is none."""
    return cast(DenoisingModel, require(family, Denoises, verb))


def time_grid(model: DenoisingModel, grid: str | None, steps: int | None, start: float = 1.0) -> Tensor:
    """Times from `start` down to 0; None takes the model's own grid and number of steps."""
    spec = model.spec
    return grids.grid(grid or spec.grid, model.schedule, steps or spec.steps, start)


def stepper_of(model: DenoisingModel, name: str | None) -> steppers.Stepper:
    """The stepper of this name; None takes the model's own."""
    return steppers.stepper(name or model.spec.stepper)


def guided_denoiser(
    model: DenoisingModel,
    size: Sequence[int],
    guidance: float | None,
    cond: RawCondition | None,
    negative: RawCondition | None = None,
) -> Denoiser:
    """The denoiser for pictures of this size (H, W), in windows where they are larger than the model's.

    Guidance is the model's own, or the one asked for if there is a class or a text to lead to, or a `negative`
    condition of as many rows to lead away from. Raises `UsageError` for guidance towards nothing.
    """
    spec, window = model.spec, (model.shape[1], model.shape[2])
    scale = spec.guidance if guidance is None else guidance
    if negative is None and (cond is None or (cond.label is None and cond.text is None)):
        if guidance not in (None, 1.0):
            raise UsageError("guidance leads towards a class or a text: give one, or leave it out.")
        scale = 1.0
    if tuple(size) == window:
        options = {"interval": spec.guidance_interval, "away_from_guide": spec.autoguidance}
        return model.guided(scale, cond, avoided=negative, **options)
    # Windows innermost, as they cut whatever condition they are asked with.
    asked: Denoiser = Tiled(model, window)
    if scale != 1.0:
        away = negative or RawCondition(context=None if cond is None else cond.context)
        asked = classifier_free(asked, scale, spec.guidance_interval, away)
    if spec.autoguidance != 1.0:
        guide = Tiled(model.parts["guide"], window)
        asked = autoguidance(asked, guide, spec.autoguidance, spec.guidance_interval)
    return asked


def chunked(draw: Callable[[int, Noise], Tensor], n: int, seed: int, family: Family, size: Sequence[int]) -> Tensor:
    """(n, C, H, W) of `draw(count, noise)`, as few at a time as pictures of this size (H, W) are large."""
    check_room(n, (family.data.shape[0], *size))
    rng = Rng(seed, family.device)
    window, area = family.data.shape[1] * family.data.shape[2], size[0] * size[1]
    at_once = max(1, CHUNK * window // area)
    return torch.cat([draw(rows.stop - rows.start, rng.shifted(rows.start)) for rows in chunks(n, at_once)])
