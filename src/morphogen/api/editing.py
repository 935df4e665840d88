"""Pictures from a user's own: edited, and restored from degraded copies."""

from __future__ import annotations

import numpy as np

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Pictures, Restored
from morphogen.api.results.shown import warn_of
from morphogen.applications.editing import edit_picture
from morphogen.applications.records import as_stored
from morphogen.applications.restoring import restore_picture
from morphogen.core.limits import check_numbers
from morphogen.data.one_picture import Image


def edit(
    model: AnyModel,
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
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    guidance: float | None = None,
    device: str | None = None,
) -> Pictures:
    """Make `n` pictures from one, each with its own noise: edit i depends on (seed, i) and what is asked for.

    Args:
        model: a held diffusion or flow model of pictures, or the path of its directory.
        image: a picture file, or bytes (H, W) or (H, W, channels).
        mask: a picture of the same size: what white touches is drawn anew, what is black stays as it is.
        strength: in (0, 1]: 1 keeps nothing of what is redrawn, small ones all but its details.
        label: the class that it is to have.
        text: what it is to show, in words; negative: what guidance leads away from, in words. With either, the default
            of guidance is that of `draw`.
        n: how many edits.
        seed: where the noise starts.
        tiles: edit at the picture's own size, in overlapping windows of the model's.
        stepper, steps, grid, guidance, device: as of `sample`; None takes the model's.

    Returns:
        The edits, with `warnings`.

    Raises:
        DataError: a picture that the model cannot take.
        UsageError: a mask without white, or a negative prompt at guidance 1.
        CapabilityError: a model that does not denoise.

    Example:
        >>> mg.edit("runs/photos", "cat.png", strength=0.5).save("edited.png")
    """
    held = open_model(model, device)
    x, row, notes = edit_picture(
        held.module,
        image,
        mask=mask,
        strength=strength,
        label=label,
        text=text,
        negative=negative,
        n=n,
        seed=seed,
        tiles=tiles,
        stepper=stepper,
        steps=steps,
        grid=grid,
        guidance=guidance,
    )
    spec = held.data.replace(shape=tuple(x.shape[1:]))
    labels = None if row is None else np.full(n, row)
    return Pictures(as_stored(x, held.data), spec, None, labels, warn_of(notes))


def upscale(
    model: AnyModel,
    image: Image,
    scale: int = 4,
    *,
    n: int = 8,
    seed: int = 0,
    label: str | int | None = None,
    text: str | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    guidance: float | None = None,
    device: str | None = None,
) -> Restored:
    """Enlarge a picture `scale` times: `restore` with the degradation "down{scale}".

    Args:
        model: a held model trained with context=downSCALE, or a diffusion or flow model of pictures; or its directory.
        image: a picture file, or bytes (H, W) or (H, W, channels).
        scale: how many times as large, from 2.
        n, seed, label, text, stepper, steps, grid, guidance, device: as of `restore`.

    Returns:
        Draws of the larger picture, their mean and how sure that is.

    Raises:
        UsageError: an enlargement that the model was not trained for.
        DataError: a picture that it cannot take.

    Example:
        >>> mg.upscale("runs/photos", "small.png", 4).save("large.png")
    """
    check_numbers(scale=scale)
    return restore(
        model,
        image,
        f"down{scale}",
        n=n,
        seed=seed,
        label=label,
        text=text,
        stepper=stepper,
        steps=steps,
        grid=grid,
        guidance=guidance,
        device=device,
    )


def restore(
    model: AnyModel,
    image: Image,
    degradation: str | None = None,
    *,
    n: int = 8,
    seed: int = 0,
    label: str | int | None = None,
    text: str | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    guidance: float | None = None,
    device: str | None = None,
) -> Restored:
    """Draw `n` times what a degraded picture may have been. Draw i depends on (seed, i) and what is asked for.

    A model trained on data with a `context` undoes the degradation that these name. One without, of diffusion or flow
    matching, undoes any degradation by posterior sampling. A result larger than the model's pictures is made in
    overlapping windows.

    Args:
        model: a held model, or the path of a model directory.
        image: a picture file, or bytes (H, W) or (H, W, channels).
        degradation: "down4", "blur1.5", "noise0.2" or "gray"; None is what the model was trained to undo.
        n: how many draws, at least 2.
        seed: where the noise starts.
        label: the class that the picture has; text: what it shows, in words.
        stepper, steps, grid, guidance, device: as of `sample`; None takes the model's.

    Returns:
        The draws, their mean, and how sure that is.

    Raises:
        UsageError: a degradation that the model cannot undo.
        DataError: a picture that it cannot take.

    Example:
        >>> mg.restore("runs/photos", "noisy.png", "noise0.2").save("clean.png")
    """
    held = open_model(model, device)
    found, spec, notes = restore_picture(
        held.module,
        image,
        degradation,
        n=n,
        seed=seed,
        label=label,
        text=text,
        stepper=stepper,
        steps=steps,
        grid=grid,
        guidance=guidance,
    )
    unit = 0.5 * ((held.data.levels or 2) - 1)
    return Restored(
        as_stored(found.samples, held.data),
        as_stored(found.mean, held.data),
        (found.stddev * unit).cpu().numpy(),
        (found.uncertainty * unit).cpu().numpy(),
        spec,
        warn_of(notes),
    )
