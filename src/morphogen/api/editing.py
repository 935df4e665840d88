"""Pictures edited from a user's own."""

from __future__ import annotations

import numpy as np

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Pictures
from morphogen.api.results.shown import warn_of
from morphogen.applications.editing import edit_picture
from morphogen.applications.records import as_stored
from morphogen.core.chunks import limited
from morphogen.data.one_picture import Image


@limited
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
    batch_size: int | None = None,
) -> Pictures:
    """Make `n` pictures from one, each with its own noise: edit i depends on (seed, i) and what is asked for.

    Args:
        model: a held diffusion or flow model of pictures, or the path of its directory.
        image: a picture file, an image of PIL, or bytes (H, W) or (H, W, channels).
        mask: a picture of the same size: what white touches is drawn anew, what is black stays as it is.
        strength: in (0, 1]: 1 keeps nothing of what is redrawn, small ones all but its details.
        label: the class that it is to have.
        text: what it is to show, in words; negative: what guidance leads away from, in words. With either, the default
            of guidance is that of `draw`.
        n: how many edits.
        seed: where the noise starts.
        tiles: edit at the picture's own size, in overlapping windows of the model's.
        stepper, steps, grid, guidance, device: as of `sample`; None takes the model's.
        batch_size: how many records are computed together, at most; None: as many as are fast.

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
