"""Records through a model, whole or level by level."""

from __future__ import annotations

from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.api.results import Pictures, Reconstructions
from morphogen.applications.latent_paths import (
    Rebuilt,
    rebuild_by_level,
    rebuild_records,
)
from morphogen.applications.records import as_stored
from morphogen.core.chunks import limited
from morphogen.data.in_memory import AnyData


@limited
def reconstruct(
    model: AnyModel,
    data: AnyData,
    n: int = 16,
    *,
    split: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> Reconstructions:
    """Pass records through a model: the mean of p(x | z) at the mean of q(z | x).

    Args:
        model: a held model that encodes, or the path of its directory.
        data: a source, arrays or a loaded `Dataset`, prepared as the model's data were.
        n: how many records of the split.
        split: "train", "validation" or "test"; None is "test", and all records of arrays without splits of their own.
        device: where to compute; None leaves a held model where it is.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The records and their reconstructions.

    Raises:
        CapabilityError: a model that does not encode.
        DataError: data that do not fit the model.

    Example:
        >>> original, made = mg.reconstruct("runs/first", "digits", n=4)
    """
    held = open_model(model, device)
    return _reconstructions(rebuild_records(held.module, data, n, split), held)


@limited
def levels(
    model: AnyModel,
    data: AnyData,
    n: int = 8,
    *,
    split: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
) -> Reconstructions:
    """Show what each level of latents knows: records, and what a model makes of their first k groups, k = 0 .. K.

    Args:
        model: a held model with latent groups, or the path of its directory.
        data, n, split, device: as of `reconstruct`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The records, and ((K + 1) * n, *shape) of them rebuilt, row after row: the first row knows nothing of them.

    Raises:
        CapabilityError: a model without latent groups.

    Example:
        >>> original, rebuilt = mg.levels("runs/first", "digits", n=4)
    """
    held = open_model(model, device)
    return _reconstructions(rebuild_by_level(held.module, data, n, split), held)


def _reconstructions(found: Rebuilt, held: OpenModel) -> Reconstructions:
    records = found.records
    labels = None if records.labels is None else records.labels.numpy()
    original = Pictures(records.stored.numpy(), records.spec, records.ids.numpy(), labels)
    return Reconstructions(original, Pictures(as_stored(found.x, held.data), held.data, original.ids, labels))
