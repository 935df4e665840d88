"""Pictures enlarged."""

from __future__ import annotations

from morphogen.api.opened import AnyModel
from morphogen.api.restoring import restore
from morphogen.api.results import Restored
from morphogen.core.chunks import limited
from morphogen.core.limits import check_numbers
from morphogen.data.one_picture import Image


@limited
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
    batch_size: int | None = None,
) -> Restored:
    """Enlarge a picture `scale` times: `restore` with the degradation "down{scale}".

    Args:
        model: a held model trained with context=downSCALE, or a diffusion or flow model of pictures; or its directory.
        image: a picture file, an image of PIL, or bytes (H, W) or (H, W, channels).
        scale: how many times as large, from 2.
        n, seed, label, text, stepper, steps, grid, guidance, device: as of `restore`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

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
