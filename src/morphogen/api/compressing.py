"""Records to an archive."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from morphogen.api.archive_models import archive_of, coding_family
from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results.archives import Archive
from morphogen.applications.compression import archives, coding, counting, model_inside
from morphogen.applications.compression.container import PLAIN, Header
from morphogen.applications.compression.records import is_stream, records_of
from morphogen.core.capabilities import CodesWithLoss
from morphogen.core.errors import MorphogenError, UsageError
from morphogen.core.family import Family
from morphogen.core.paths import without_folders
from morphogen.data.in_memory import AnyData
from morphogen.trainer.provenance import hardware, versions


def compress(
    model: AnyModel | None,
    data: AnyData,
    out: Path | str,
    *,
    split: str | None = None,
    with_model: bool = False,
    this_machine_only: bool = False,
    compare: bool = False,
    quality: int | None = None,
) -> Archive:
    """Pack records into one archive, from which `decompress` gives back the same bytes and names.

    A block of records is coded by what the model knows of them, or plainly where that is smaller.

    Args:
        model: a held model that gives likelihoods to code by, or the path of its directory, in its integer form
            (`mg.quantize`); None codes plainly.
        data: a source, arrays, a loaded `Dataset`, or an iterator of arrays (n, *shape) of bytes, which may be larger
            than memory; prepared as the model's data were.
        out: the file to write, FILE.mgz. It is written as a whole or not at all.
        split: of the data; None takes all records, in the order of their source.
        with_model: put the model into the archive.
        this_machine_only: allow a model that is no integer form. Another machine may not read the archive.
        compare: also code the records by PNG, WebP, LZMA and bzip2.
        quality: 1 to 100, for a model that codes with a loss (`rate_distortion`); 100 is nearest to the pictures.

    Returns:
        The archive and what it counts.

    Raises:
        CapabilityError: a model that cannot code records.
        UsageError: a model that is no integer form; a model with a loss and no quality, or the reverse.
        DataError: records that do not fit the model, or are no bytes.

    Example:
        >>> mg.compress("runs/integers", "digits", "test.mgz", split="test").records
        299
    """
    held = None if model is None else open_model(model, "cpu")
    _check_quality(quality, None if held is None else held.module)
    family = None if held is None else coding_family(held, this_machine_only)
    if compare and is_stream(data):
        raise UsageError("a stream passes once: leave --compare out, or give a source.")
    spec, records = records_of(data, None if held is None else held.data, split)
    exact = family is None or coding.is_exact(family)
    header = Header(
        shape=list(spec.shape),
        levels=spec.levels or 256,
        block=archives.block_of(spec.dimensions, PLAIN if family is None else coding.coder_of(family)),
        quality=quality,
        model=None if held is None else held.fingerprint,
        family=None if held is None else held.family,
        exact=exact,
        machine=None if exact else _machine(),
        by=f"morphogen {version('morphogen')}",
        data=without_folders(spec.source) if not is_stream(data) else "",
    )
    inside = model_inside.pressed(held.path) if held is not None and with_model else None
    try:
        tally = archives.write(Path(out), header, records, family, inside)
    except OSError as error:
        raise MorphogenError(f"{out}: the archive could not be written ({error.strerror or error}).") from error
    others = counting.rivals(np.concatenate([x for x, _ in records_of(data, spec, split)[1]])) if compare else {}
    size = len(inside or (b"" if held is None else model_inside.pressed(held.path))) if compare else 0
    return archive_of(Path(out), header, tally, others, size)


def _check_quality(quality: int | None, family: Family | None) -> None:
    """Raise `UsageError` unless a quality is given to a model that codes with a loss, and to no other."""
    lossy = family is not None and CodesWithLoss in family.capabilities
    if lossy and quality is None:
        raise UsageError("this model codes with a loss: say how much with --quality, 1 to 100.")
    if quality is not None and not lossy:
        raise UsageError("--quality is for models that code with a loss (rate_distortion), after `morphogen quantize`.")
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"--quality is 1 to 100 (got {quality}).")


def _machine() -> str:
    return f"torch {versions()['torch']} on {hardware(torch.device('cpu'), 1)['cpu']}"[:200]
