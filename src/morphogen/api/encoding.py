"""The latent space of a model: encoded records, walks between them, the plane of two latents."""

from __future__ import annotations

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Latents, Pictures
from morphogen.applications.latent_paths import (
    decode_plane,
    encode_records,
    walk_between,
    walk_between_pictures,
)
from morphogen.applications.records import as_stored
from morphogen.core.chunks import limited
from morphogen.core.errors import UsageError
from morphogen.data.in_memory import AnyData
from morphogen.data.one_picture import Image


@limited
def encode(
    model: AnyModel,
    data: AnyData,
    n: int | None = None,
    *,
    split: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> Latents:
    """Encode records: the means of q(z | x).

    Args:
        model, data, split, device: as of `reconstruct`.
        batch_size: how many records are computed together, at most; None: as many as are fast.
        n: how many records of the split; None takes all.

    Returns:
        The latents (n, D), with the ids and labels of the records.

    Raises:
        CapabilityError: a model that does not encode.

    Example:
        >>> mg.encode("runs/first", "digits", n=8).mean.shape[0]
        8
    """
    records, z = encode_records(open_model(model, device).module, data, n, split)
    labels = None if records.labels is None else records.labels.numpy()
    return Latents(z.numpy(), records.ids.numpy(), labels, records.spec.classes)


@limited
def interpolate(
    model: AnyModel,
    data: AnyData | None = None,
    n: int = 8,
    *,
    between: tuple[Image, Image] | None = None,
    steps: int = 8,
    split: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> Pictures:
    """Walk in latent space between pairs of records, or between two pictures, in `steps` pictures each.

    The latents of a model that denoises are the noise that its probability flow leads to a record (DDIM inversion;
    Song et al., 2021).

    Args:
        model, data, split, device: as of `reconstruct`; no data with `between`.
        batch_size: how many records are computed together, at most; None: as many as are fast.
        n: how many pairs of the data.
        between: two pictures: files, bytes (H, W) or (H, W, channels), or images.
        steps: pictures from one record to the other, at least 2.

    Returns:
        The pictures (n * steps, *shape), a row of `steps` for each pair.

    Raises:
        UsageError: fewer than two steps or records; both data and pictures, or neither.
        CapabilityError: a model that neither encodes nor denoises.

    Example:
        >>> mg.interpolate("runs/first", "digits", n=4).save("between.png")
    """
    held = open_model(model, device)
    if (data is None) == (between is None):
        came = "neither" if data is None else "both"
        raise UsageError(f"an interpolation takes data (--data) or two pictures (--between A B), and got {came}.")
    if between is not None:
        walk = walk_between_pictures(held.module, *between, steps)
        return Pictures(as_stored(walk, held.data), held.data, columns=steps)
    assert data is not None
    records, x = walk_between(held.module, data, n, steps, split)
    return Pictures(as_stored(x, held.data), held.data, ids=records.ids.numpy(), columns=steps)


@limited
def manifold(model: AnyModel, n: int = 20, *, device: str | None = None, batch_size: int | None = None) -> Pictures:
    """Decode the latent plane of a model of two latents at n * n places: quantiles of the standard normal.

    Args:
        model: a held model of two latents, or the path of its directory.
        n: places in each direction.
        device: as of `reconstruct`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The pictures (n * n, *shape), row by row from the top.

    Raises:
        UsageError: a model of more latents.

    Example:
        >>> mg.manifold("runs/plane", n=10).save("plane.png")
    """
    held = open_model(model, device)
    return Pictures(as_stored(decode_plane(held.module, n), held.data), held.data, columns=n)
