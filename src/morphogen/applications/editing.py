"""Edit pictures by sampling from a noised picture (Meng et al., "SDEdit", 2022), as a whole or in part.

The strength of an edit is the time t at the start of the reverse process, x_t = alpha_t x_0 + sigma_t eps: 1 keeps
nothing of the picture, and small values redraw only details. A mask selects the pixels to redraw. The other pixels
stay, and the redrawn part is consistent with them (`sampling/inverse.py`).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from morphogen.applications.denoising_models import (
    chunked,
    denoising_model,
    guided_denoiser,
    stepper_of,
    time_grid,
)
from morphogen.applications.prompting import class_index, class_notes, constant_condition, read_weighted_prompt
from morphogen.applications.restoration import of_means
from morphogen.applications.sampling import resolve_sampling_options, with_default_guidance
from morphogen.core.batch import RawCondition
from morphogen.core.errors import DataError, UsageError
from morphogen.core.family import Family
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Noise
from morphogen.data.one_picture import Image, by, fitted, mask_of, read, values
from morphogen.sampling import loop
from morphogen.sampling.denoiser import Denoiser
from morphogen.sampling.editing import noised
from morphogen.sampling.inverse import inpainting
from morphogen.sampling.steppers import Stepper


def edited(
    denoiser: Denoiser,
    stepper: Stepper,
    times: Tensor,
    x_0: Tensor,
    rng: Noise,
    cond: RawCondition | None = None,
    redrawn: Tensor | None = None,
) -> Tensor:
    """Edit pictures x_0 (n, *shape), each with its own noise; edit i depends on (seed, i).

    Args:
        denoiser: the model, with guidance if wanted.
        stepper: the method of integration.
        times: the grid from the strength down to 0, as from `sampling.grids` with that start.
        x_0: the pictures in the units of the chain.
        rng: the noise.
        cond: the conditions, n rows, or None.
        redrawn: bool, broadcasts to x_0: the pixels to redraw; None redraws all.

    Returns:
        The edited pictures, of the shape of x_0.

    Raises:
        UsageError: the mask redraws nothing.
    """
    x = noised(x_0, float(times[0]), denoiser.schedule, rng, len(x_0))
    if redrawn is not None:
        if not redrawn.any():
            raise UsageError("the mask is black: nothing would be redrawn; make white what is to be.")
        denoiser, stepper = inpainting(denoiser, x_0, ~redrawn), of_means(stepper)
    return loop.sample(denoiser, stepper, x, times, loop.addressed(rng, len(x), x), cond)


def edit_picture(
    family: Family,
    image: Image,
    *,
    mask: Image | None,
    strength: float,
    label: str | int | None,
    text: str | None,
    negative: str | None,
    n: int,
    seed: int,
    tiles: bool,
    stepper: str | None,
    steps: int | None,
    grid: str | None,
    guidance: float | None,
) -> tuple[Tensor, int | None, tuple[str, ...]]:
    """`n` edits of a picture, each with its own noise; see `mg.edit`.

    Returns:
        x (n, C, H, W), the index of the class, and notes for the user.

    Raises:
        DataError: the picture does not fit the model.
        UsageError: the options contradict each other or the model.
    """
    check_numbers(n=n, seed=seed, strength=strength, steps=steps, guidance=guidance)
    model = denoising_model(family, "edit pictures")
    data, on = family.data, family.device
    if not 0.0 < strength <= 1.0:
        raise UsageError(f"the strength of an edit lies in (0, 1] (got {strength:g}).")
    if family.needs_context:
        raise UsageError(
            f"this model restores pictures (context={data.preprocessing.get('context')}) and edits none: use one"
            " without a context."
        )
    if model.shape != data.shape and (mask is not None or tiles):
        raise UsageError("this model works in the latent space of its autoencoder, where neither mask nor tiles reach.")
    row, words = class_index(family, label), None if text is None else read_weighted_prompt(family, text)
    stored = read(image, data)
    x = values(fitted(stored, data, image, tiles), data)
    redrawn = None if mask is None else _mask(mask, stored, family, tiles).to(on)
    method = stepper_of(model, stepper)
    times = time_grid(model, method, grid, steps, strength)
    led: dict[str, Any] = {"guidance": guidance, "negative": negative}
    if text is not None or negative is not None:
        led = with_default_guidance(family, led)
    led = resolve_sampling_options(family, led)
    avoid: RawCondition | None = led.get("avoid")

    def draw(count: int, rng: Noise) -> Tensor:
        x_0 = model.encoded(x.to(on).expand(count, *x.shape[1:]), rng, count)
        cond = constant_condition(count, row, words, on)
        away = None if avoid is None else avoid.repeated(count)
        denoiser = guided_denoiser(model, x_0.shape[2:], led.get("guidance"), cond, away)
        return model.decoded(edited(denoiser, method, times, x_0, rng, cond, redrawn))

    notes = (*class_notes(data, label), *(() if words is None else words.warnings))
    notes += _smaller(stored, x, model.shape == data.shape)
    return chunked(draw, n, seed, family, x.shape[2:]), row, notes


def _mask(mask: Image, stored: Tensor, family: Family, tiles: bool) -> Tensor:
    """The pixels to redraw, bool, at the size of the edit."""
    given = read(mask)
    if given.shape[2:] != stored.shape[2:]:
        raise DataError(
            f"the mask is {by(given.shape[2:])}, the picture {by(stored.shape[2:])} (height x width): they have to be"
            " equal."
        )
    return mask_of(given, family.data, mask, tiles)


def _smaller(stored: Tensor, x: Tensor, windows: bool) -> tuple[str, ...]:
    """That a picture is drawn with fewer pixels than it has, and how it keeps them; `windows`: whether it can."""
    (rows, columns), (height, width) = stored.shape[-2:], x.shape[-2:]
    if rows <= height and columns <= width:
        return ()
    keep = "; in windows it keeps its size: tiles=True, or --tiles" if windows else ""
    return (f"the edit has the model's {width}x{height} pixels, and the picture has {columns}x{rows}{keep}",)
