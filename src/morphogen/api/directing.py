"""Directions of latent space, and pictures moved along them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.api.results import Directions, LatentEdits
from morphogen.api.results.shown import warn_of
from morphogen.applications.direction_finding import find_directions
from morphogen.applications.latent_editing import move_picture
from morphogen.applications.records import as_stored, check_made
from morphogen.core.chunks import limited
from morphogen.core.errors import UsageError
from morphogen.data.in_memory import AnyData
from morphogen.data.one_picture import Image


@limited
def directions(
    model: AnyModel,
    data: AnyData | None = None,
    *,
    factors: int = 10,
    n: int = 500,
    split: str = "test",
    device: str | None = None,
    batch_size: int | None = None,
) -> Directions:
    """Find directions of latent space: the model's own, and with `data` one for each class and attribute.

    The model's own, "factor-1" ..., are those of closed-form factorization, by falling effect. Others are found from
    the latents of training records and measured on those of `split` (`applications/latent_directions.py`): of a class
    by its name, of an attribute's value by "attribute=value", of a real-valued attribute by its name.

    Args:
        model: a held model that encodes, or the path of its directory.
        data: a source, arrays or a `Dataset` with classes or attributes; None finds the model's own alone.
        factors: how many of the model's own.
        n: encode at most so many training records, and half as many to measure.
        split: the records to measure on.
        device: as of `reconstruct`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The directions by name, with the share of pairs of held-out records that each orders.

    Raises:
        CapabilityError: a model without latents, or without directions of its own where no data are given.
        DataError: nothing is known of the records.

    Example:
        >>> mg.directions("runs/first", "digits").save("directions.npz")
    """
    held = open_model(model, device)
    found = find_directions(held.module, data, factors, n, split)
    return Directions(
        tuple(f.name for f in found.directions),
        check_made(torch.stack([f.vector.cpu().double() for f in found.directions])).numpy(),
        np.array([f.ordered.value for f in found.directions]),
        np.array([f.ordered.interval for f in found.directions]),
        found.n,
        held.weights_hash,
        warn_of(found.notes),
    )


@limited
def edit_latent(
    model: AnyModel,
    image: Image,
    direction: str | Sequence[str],
    strength: float | Sequence[float] = 3.0,
    *,
    directions: Directions | Path | str | None = None,
    label: str | int | None = None,
    text: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> LatentEdits:
    """Encode a picture, move its latents along a direction, and decode: the mean of p(x | z + strength w).

    Args:
        model: a held model that encodes, or the path of its directory. A GAN finds the latents of a picture by
            descent, which takes a moment.
        image: a picture file, an image of PIL, or bytes (H, W) or (H, W, channels).
        direction: "factor-1" ... of a model that has its own, or a name in `directions`; or several.
        strength: in standard deviations of the latents, to either side; 0 is the reconstruction; or several.
        directions: what the function of that name found, or the file of it.
        label: the class that the picture has; text: what it shows, in words. The directions of properties were found
            without, and reach furthest without.
        device: as of `reconstruct`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The edits, and how well the model makes the picture at all.

    Raises:
        UsageError: a direction that there is not, or one of another model.
        DataError: a picture that the model cannot take.

    Example:
        >>> mg.edit_latent("runs/gan", "face.png", "factor-1", [-3, 0, 3]).save("edits.png")
    """
    held = open_model(model, device)
    names = (direction,) if isinstance(direction, str) else tuple(direction)
    strengths = tuple(strength) if isinstance(strength, Sequence) else (strength,)
    found = move_picture(held.module, image, names, strengths, _known(held, directions), label, text)
    real = tuple(map(float, strengths))
    x = as_stored(found.x, held.data)
    return LatentEdits(x, held.data, names, real, found.rmse, found.baseline, warn_of(found.notes))


def _known(held: OpenModel, directions: Directions | Path | str | None) -> dict[str, Tensor]:
    """Directions by name. Raises `UsageError` for those of another model."""
    if directions is None:
        return {}
    found = directions if isinstance(directions, Directions) else Directions.read(directions)
    if found.model != held.weights_hash:
        raise UsageError("these directions were found for another model: find this one's with `morphogen directions`.")
    return dict(zip(found.names, torch.from_numpy(found.vectors), strict=True))
