"""The model of an archive, and the archive as a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.api.results.archives import Archive
from morphogen.api.results.shown import warn_of
from morphogen.applications.compression import archives, coding, counting, model_inside
from morphogen.applications.compression.archives import Tally
from morphogen.applications.compression.container import Header
from morphogen.core.errors import ArtifactError, UsageError
from morphogen.core.family import Family


def coding_family(held: OpenModel, this_machine_only: bool) -> Family:
    """The family of a model, ready to code. Raises `CapabilityError`, and `UsageError` where it is not exact."""
    coding.coder_of(held.module)
    if not coding.is_exact(held.module) and not this_machine_only:
        raise UsageError(
            f"{held.path} computes in floating point, whose rounding differs from machine to machine, so another one"
            " might not read the archive: make its integer form with `morphogen quantize`, or add --this-machine-only."
        )
    return held.module


@contextmanager
def reading_family(path: Path, header: Header, model: AnyModel | None) -> Iterator[Family | None]:
    """The model of an archive, whether it is given or inside. Raises `ArtifactError` where it is another one."""
    if header.model is None:
        yield None
    elif model is not None:
        yield _same(open_model(model, "cpu"), header, path)
    elif not archives.needs_model(path):
        yield None
    elif (inside := archives.read_inside(path)) is None:
        raise UsageError(
            f"{path} needs the {header.family} model with the fingerprint {header.model[:16]}: say with --model"
            " where it is."
        )
    else:
        with model_inside.unpacked(inside, path) as folder:
            yield _same(open_model(folder, "cpu"), header, path)


def _same(held: OpenModel, header: Header, path: Path) -> Family:
    if held.fingerprint != header.model:
        raise ArtifactError(
            f"{held.path} is not the model that {path} was made with: expected the fingerprint"
            f" {(header.model or '')[:16]}, got {held.fingerprint[:16]}."
        )
    if header.shape != list(held.data.shape):
        raise ArtifactError(f"{path}: its records of shape {header.shape} are none of the model's.")
    return coding_family(held, not header.exact)


def archive_of(path: Path, header: Header, tally: Tally, rivals: Mapping[str, float], model_bytes: int) -> Archive:
    """What was written or read, as a result. `model_bytes` counts for the break-even."""
    values = tally.records * header.dimensions
    rate = 8.0 * (tally.bytes - tally.model_bytes) / values if values else None
    whole = tally.modeled == tally.records and tally.modeled > 0
    ideal = tally.bits / values if whole else None
    gap = rate / ideal - 1.0 if rate is not None and ideal else None
    near = [sum(values) / len(tally.nearness) for values in zip(*tally.nearness, strict=True)] or [None, None]
    return Archive(
        path=str(path),
        records=tally.records,
        shape=tuple(header.shape),
        bytes=tally.bytes,
        model_bytes=tally.model_bytes,
        bits_per_dim=rate,
        model=header.model,
        family=header.family,
        exact=header.exact,
        blocks=dict(tally.coders),
        ideal_bits_per_dim=ideal,
        gap=gap,
        rivals=rivals,
        break_even=None if rate is None else counting.break_even(model_bytes, rate, rivals.values(), header.dimensions),
        seconds=round(tally.seconds, 2),
        quality=header.quality,
        psnr=near[0],
        ms_ssim=near[1],
        warnings=warn_of(tally.problems),
    )
