"""Pictures from a user's own: edited, and restored from degraded copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from morphogen.api.drawing import class_row, condition, drawn_how, guided, of_classes, weighted
from morphogen.api.images import Image, by, fitted, mask_of, name_of, options_of, read, values
from morphogen.api.records import Pictures, as_stored, check_room, device_of, load_model
from morphogen.applications.editing import edited
from morphogen.applications.restoration import Restoration, by_condition, by_measurement
from morphogen.core import capabilities, registry
from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.core.family import Family, require
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data.context import Degradation
from morphogen.data.pictures import with_channels
from morphogen.sampling import grids, steppers
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.guidance import autoguidance, classifier_free
from morphogen.sampling.tiling import Tiled

CHUNK = 16  # pictures of the model's size drawn together; as many fewer as theirs are larger


@dataclass(frozen=True)
class Restored:
    """A picture as it may have been; `spec` says what the stored units are (0 .. 255 for 8-bit pictures).

    samples      (n, C, H, W) stored, draws from the posterior
    mean         (C, H, W) stored, their mean
    stddev       (C, H, W) float32 in stored units, their standard deviation (unbiased variance)
    uncertainty  (H, W) float32: of each pixel, the root mean square of that over the channels
    """

    samples: np.ndarray
    mean: np.ndarray
    stddev: np.ndarray
    uncertainty: np.ndarray
    spec: DataSpec
    warnings: tuple[str, ...] = ()


def edit(
    model: Path | str,
    image: Image,
    *,
    mask: Image | None = None,
    strength: float = 0.6,
    label: str | int | None = None,
    text: str | None = None,
    negative: str | None = None,
    n: int = 1,
    seed: int = 0,
    tiles: bool = False,
    device: str = "cpu",
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    guidance: float | None = None,
) -> Pictures:
    """`n` pictures made from one, each with its own noise: edit i depends on (seed, i) and what is asked for.

    mask      a picture of the same size: what is white is drawn anew, what is black stays as it is
    strength  in (0, 1]: 1 keeps nothing of what is redrawn, small ones all but its details
    label     the class that it is to have
    text      what it is to show, in words, `(words:1.3)` of which count 1.3 times; negative: what guidance leads away
              from, in words. With either, the default of guidance is that of `draw`
    tiles     edit at the picture's own size, in overlapping windows of the model's, instead of bringing it to the
              model's size as its data were (`sampling/tiling.py`)
    stepper, steps, grid, guidance    as of `sample`; None takes the model's
    Raises `DataError` for a picture that the model cannot take, and `UsageError` for a negative prompt at guidance 1.
    """
    check_numbers(n=n, seed=seed, strength=strength, steps=steps, guidance=guidance)
    family = _denoiser(load_model(model, device).family, "edit pictures")
    data = family.data
    if not 0.0 < strength <= 1.0:
        raise UsageError(f"the strength of an edit lies in (0, 1] (got {strength:g}).")
    if data.context_shape is not None and not _without_context(family):
        raise UsageError(f"this model restores pictures ({_context(data)}) and edits none: use one without a context.")
    if _latent(family) and (mask is not None or tiles):
        raise UsageError("this model works in the latent space of its autoencoder, where neither mask nor tiles reach.")
    row, words = class_row(data, label, family), None if text is None else weighted(family, text)
    stored = read(image, data)
    x = values(fitted(stored, data, image, tiles), data)
    redrawn = None
    if mask is not None:
        given = read(mask)
        if given.shape[2:] != stored.shape[2:]:
            raise DataError(
                f"the mask is {by(given.shape[2:])}, the picture {by(stored.shape[2:])} (height x width): they have"
                " to be equal."
            )
        redrawn = mask_of(given, data, mask, tiles).to(device_of(family))
    times, method = _times(family, grid, steps, strength), _stepper(family, stepper)
    on = device_of(family)
    led: dict[str, Any] = {"guidance": guidance, "negative": negative}
    led = drawn_how(family, led if text is None and negative is None else guided(family, led))
    avoid: RawCondition | None = led.get("avoid")

    def draw(count: int, rng: Rng) -> Tensor:
        x_0 = family.encoded(x.to(on).expand(count, *x.shape[1:]), rng, count)
        cond = condition(count, row, words, on)
        avoided = None if avoid is None else avoid.repeated(count)
        asked = _asked(family, x_0.shape[2:], led.get("guidance"), cond, avoided)
        return family.decoded(edited(asked, method, times, x_0, rng, cond, redrawn))

    made = _drawn(draw, n, seed, family, x.shape[2:])
    labels = None if row is None else np.full(n, row)
    said = (*of_classes(data, label), *(() if words is None else words.warnings))
    spec = data.replace(shape=tuple(made.shape[1:]))
    return Pictures(as_stored(made, data), spec, labels=labels, warnings=said)


def upscale(model: Path | str, image: Image, scale: int = 4, **how: Any) -> Restored:
    """A picture `scale` times as large, as `restore` with the degradation "down{scale}"."""
    check_numbers(scale=scale)
    return restore(model, image, f"down{scale}", **how)


def restore(
    model: Path | str,
    image: Image,
    degradation: str | None = None,
    *,
    n: int = 8,
    seed: int = 0,
    label: str | int | None = None,
    text: str | None = None,
    device: str = "cpu",
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    guidance: float | None = None,
) -> Restored:
    """`n` draws of what a degraded picture may have been, their mean, and how sure that is.

    Draw i depends on (seed, i) and what is asked for.
    A model trained on data with a `context` undoes the degradation that these name. One without, of diffusion or flow
    matching, undoes any `degradation`, "down4", "blur1.5", "noise0.2" or "gray" (`data/context.py`), by posterior
    sampling. A result larger than the model's pictures is made in overlapping windows.

    label  the class that it has; text: what it shows, in words
    stepper, steps, grid, guidance    as of `sample`; None takes the model's
    Raises `UsageError` for a degradation that the model cannot undo, `DataError` for a picture that it cannot take.
    """
    check_numbers(n=n, seed=seed, steps=steps, guidance=guidance)
    family = load_model(model, device).family
    require(family, capabilities.Samples, "restore pictures", registry.having(capabilities.Samples))
    data = family.data
    how = drawn_how(family, {"stepper": stepper, "steps": steps, "grid": grid, "guidance": guidance})
    if n < 2:
        raise UsageError(f"an uncertainty needs at least 2 samples: --n (got {n}).")
    known = Degradation.of(data)
    if degradation is None and known is None:
        raise UsageError("say what the picture has been through: a degradation such as down4, blur1.5, noise0.2, gray.")
    asked = Degradation.parse(degradation) if degradation is not None else cast(Degradation, known)
    learned = asked == known
    if known is not None and not learned and not _without_context(family):
        raise UsageError(f"this model was trained to undo {known}, not {asked}: ask for that, or use another model.")
    options = options_of(data)
    low = with_channels(read(image, data), "gray" if asked.kind == "gray" else options.channels, options.background_rgb)
    on = device_of(family)
    y = values(low, data)[0].to(on)
    shape = (data.shape[0], y.shape[1] * asked.scale, y.shape[2] * asked.scale)
    asked.shape(shape, data.levels)
    if any(side < least for side, least in zip(shape[1:], data.shape[1:], strict=True)):
        raise DataError(
            f"{name_of(image)} is {by(y.shape[1:])} (height x width) and would become {by(shape[1:])}, smaller than the"
            f" pictures that this model knows, {by(data.shape[1:])}."
        )
    row, words = class_row(data, label, family), None if text is None else weighted(family, text)

    def known_of(count: int) -> RawCondition | None:
        cond = condition(count, row, words, on)
        return replace(cond or RawCondition(), context=y.expand(count, *y.shape)) if learned else cond

    by_steps = capabilities.Denoises in family.capabilities and not _latent(family)
    if learned and shape == data.shape and not by_steps:

        def draw(count: int, rng: Rng) -> Tensor:
            made = cast(Any, family).sample(count, known_of(count), rng, **how)
            return asked.nearest(made, y.to(made).expand(count, *y.shape)) if data.kind == "continuous" else made

    else:
        model_of_pixels = _denoiser(family, "restore such pictures")
        if _latent(family):
            raise UsageError(
                "this model works in the latent space of its autoencoder: it restores pictures of its own size alone,"
                f" {by(data.shape[1:])}, and what its context= names."
            )
        times, method = _times(model_of_pixels, grid, steps), _stepper(model_of_pixels, stepper)
        dtype = next(family.parameters()).dtype

        def draw(count: int, rng: Rng) -> Tensor:
            cond = known_of(count)
            denoiser = _asked(model_of_pixels, shape[1:], guidance, cond)
            if learned:
                given = cast(RawCondition, cond)
                x_0 = by_condition(denoiser, method, times, shape, count, rng, given, asked, dtype)
            else:
                levels = cast(int, data.levels)
                x_0 = by_measurement(denoiser, method, times, shape, count, rng, y.to(dtype), asked, levels, cond)
            return model_of_pixels.decoded(x_0)

    found = Restoration(_drawn(draw, n, seed, family, shape[1:]).float())
    unit = 0.5 * (cast(int, data.levels) - 1)
    return Restored(
        as_stored(found.samples, data),
        as_stored(found.mean, data),
        (found.stddev * unit).cpu().numpy(),
        (found.uncertainty * unit).cpu().numpy(),
        data.replace(shape=shape),
        (*of_classes(data, label), *(() if words is None else words.warnings)),
    )


# ------------------------------------------------------------------- the model


def _denoiser(family: Family, verb: str) -> Any:
    """The family as a denoiser with a schedule. Raises `CapabilityError` where it is none."""
    require(family, capabilities.Denoises, verb, registry.having(capabilities.Denoises))
    return family


def _latent(family: Family) -> bool:
    return bool(cast(Any, family).shape != family.data.shape)


def _without_context(family: Family) -> bool:
    """Whether a model with a context also knows pictures without one."""
    return bool(getattr(family.spec, "context_dropout", 0.0))


def _context(data: DataSpec) -> str:
    return f"context={data.preprocessing.get('context')}"


def _times(family: Any, grid: str | None, steps: int | None, start: float = 1.0) -> Tensor:
    s = family.spec
    return grids.grid(grid or s.grid, family.schedule, steps or s.steps, start)


def _stepper(family: Any, name: str | None) -> steppers.Stepper:
    return steppers.stepper(name or family.spec.stepper)


def _asked(
    family: Any,
    size: Any,
    guidance: float | None,
    cond: RawCondition | None,
    avoided: RawCondition | None = None,
) -> Denoiser:
    """The denoiser for pictures of this size, with the model's guidance, or the one asked for if there is a class or
    text to lead to, or a condition to be `avoided`, of as many rows."""
    s, window = family.spec, tuple(family.shape[1:])
    scale = s.guidance if guidance is None else guidance
    if avoided is None and (cond is None or (cond.label is None and cond.text is None)):
        if guidance not in (None, 1.0):
            raise UsageError("guidance leads towards a class or a text: give one, or leave it out.")
        scale = 1.0
    if tuple(size) == window:
        how = {"interval": s.guidance_interval, "away_from_guide": s.autoguidance}
        return cast(Denoiser, family.guided(scale, cond, avoided=avoided, **how))
    # Windows innermost, as they cut whatever condition they are asked with.
    asked: Denoiser = Tiled(family, window)
    if scale != 1.0:
        away = avoided or RawCondition(context=None if cond is None else cond.context)
        asked = classifier_free(asked, scale, s.guidance_interval, away)
    if s.autoguidance != 1.0:
        asked = autoguidance(asked, Tiled(family.parts["guide"], window), s.autoguidance, s.guidance_interval)
    return asked


def _drawn(draw: Callable[[int, Rng], Tensor], n: int, seed: int, family: Family, size: Any) -> Tensor:
    """(n, C, H, W), a few at a time."""
    check_room(n, (family.data.shape[0], *size))
    rng = Rng(seed, device_of(family))
    window, area = family.data.shape[1] * family.data.shape[2], size[0] * size[1]
    at_once = max(1, CHUNK * window // area)
    return torch.cat([draw(min(at_once, n - i), rng.shifted(i)) for i in range(0, n, at_once)])
