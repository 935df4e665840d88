"""The common parts of editing, restoring and chains for families that denoise: grids, steppers, guidance, windows."""

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
from morphogen.sampling import steppers
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.guidance import autoguidance, classifier_free
from morphogen.sampling.plan import planned
from morphogen.sampling.readout import Readout
from morphogen.sampling.steppers import State
from morphogen.sampling.tiling import Tiled

CHUNK = 16  # pictures of the model's size per call; fewer if they are larger


class DenoisingModel(Denoiser, Protocol):
    """A family that denoises records or their latents, with options.

    shape    the shape of x_0: that of latents, if the model has an autoencoder
    readout  turns the network's output into a posterior
    """

    spec: Any
    parts: Any
    shape: tuple[int, ...]
    readout: Readout

    def encoded(self, x: Tensor, rng: Noise, index: int) -> Tensor:
        """Turn records (n, *data.shape) into x_0 (n, *shape)."""

    def decoded(self, x_0: Tensor) -> Tensor:
        """The inverse of `encoded`."""

    def guided(self, scale: float, cond: RawCondition | None, **options: Any) -> Denoiser:
        """This denoiser with guidance."""

    def trajectory(self, n: int, cond: RawCondition | None, rng: Noise, **options: Any) -> Iterator[State]:
        """The states of the reverse chain."""


def denoising_model(family: Family, verb: str) -> DenoisingModel:
    """The family, typed as a denoiser. Raises `CapabilityError` if it is not one."""
    return cast(DenoisingModel, require(family, Denoises, verb))


def time_grid(
    model: DenoisingModel, stepper: steppers.Stepper, grid: str | None, steps: int | None, start: float = 1.0
) -> Tensor:
    """Times of the stepper from `start` down to 0; None takes the model's own grid and number of steps."""
    spec = model.spec
    return planned(stepper, grid or spec.grid, model.schedule, steps or spec.steps, start)


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
    """The denoiser for pictures of this size (H, W); larger pictures than the model's are denoised in windows.

    `guidance` replaces the model's own scale. It needs a class or a text in `cond`, or a condition `negative` with the
    same number of rows to lead away from. Raises `UsageError` for guidance without any of them.
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
    # Windows are the innermost wrapper, because they cut the condition of each call.
    asked: Denoiser = Tiled(model, window)
    if scale != 1.0:
        away = negative or RawCondition(context=None if cond is None else cond.context)
        asked = classifier_free(asked, scale, spec.guidance_interval, away)
    if spec.autoguidance != 1.0:
        guide = Tiled(model.parts["guide"], window)
        asked = autoguidance(asked, guide, spec.autoguidance, spec.guidance_interval)
    return asked


def chunked(draw: Callable[[int, Noise], Tensor], n: int, seed: int, family: Family, size: Sequence[int]) -> Tensor:
    """(n, C, H, W) by calls of `draw(count, noise)`, with fewer pictures per call the larger their size (H, W) is."""
    check_room(n, (family.data.shape[0], *size))
    rng = Rng(seed, family.device)
    window, area = family.data.shape[1] * family.data.shape[2], size[0] * size[1]
    at_once = max(1, CHUNK * window // area)
    return torch.cat([draw(rows.stop - rows.start, rng.shifted(rows.start)) for rows in chunks(n, at_once)])
