"""Pictures restored from degraded copies."""

from __future__ import annotations

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Restored
from morphogen.api.results.shown import warn_of
from morphogen.applications.records import as_stored
from morphogen.applications.restoring import restore_picture
from morphogen.core.chunks import limited
from morphogen.data.one_picture import Image


@limited
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
    batch_size: int | None = None,
) -> Restored:
    """Draw `n` times what a degraded picture may have been. Draw i depends on (seed, i) and what is asked for.

    A model trained on data with a `context` undoes the degradation that these name. One without, of diffusion or flow
    matching, undoes any degradation by posterior sampling. A result larger than the model's pictures is made in
    overlapping windows.

    Args:
        model: a held model, or the path of a model directory.
        image: a picture file, an image of PIL, or bytes (H, W) or (H, W, channels).
        degradation: "down4", "blur1.5", "noise0.2" or "gray"; None is what the model was trained to undo.
        n: how many draws, at least 2.
        seed: where the noise starts.
        label: the class that the picture has; text: what it shows, in words.
        stepper, steps, grid, guidance, device: as of `sample`; None takes the model's.
        batch_size: how many records are computed together, at most; None: as many as are fast.

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
