"""Records that something made, to be judged: all of them in one, whatever their folders and their range.

Nothing is set aside, since nothing is learned from them. Pictures become bytes; of real numbers the range is found from
the values, and said: 0 to 1, -1 to 1 or 0 to 255, from black to white.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError
from morphogen.core.printable import listed, one_line
from morphogen.data.in_memory import AnyData, is_source
from morphogen.data.load import IN_MEMORY, read_source
from morphogen.data.options import Options, OwnSplits
from morphogen.data.pictures import prepared
from morphogen.data.raw import Raw

_RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
_TOLERANCE = 1e-3  # of a range: rounding may lead beyond it
_LEAST_OF_BYTES = 10.0  # the whitest shade of pictures in 0 to 255
_CHUNK = 4096


@dataclass(frozen=True)
class Samples:
    """Records in the order of their source.

    stored    (N, *shape) as `spec` says
    labels    (N,) class numbers of the data that they are judged by, or None; captions: a text each, or None
    notes     what was taken for what, a sentence each
    """

    stored: Tensor
    spec: DataSpec
    labels: Tensor | None
    captions: list[str] | None
    notes: tuple[str, ...]


def load_samples(source: AnyData, like: DataSpec) -> Samples:
    """Records to be judged beside data that `like` describes, with their size and channels.

    Folders inside are classes if all of them have the names of the data's classes, and else batches. Raises
    `UsageError` and `DataError` as `load` does, and `DataError` for pictures of different sizes or numbers of no known
    range.
    """
    kept = {k: v for k, v in like.preprocessing.items() if k not in ("binary", "context")}
    settled = like.replace(preprocessing=kept if like.is_picture else like.preprocessing)
    options, raw = read_source(source, settled, _as_it_is if like.is_picture else None)
    if not len(raw.stored):
        raise DataError(f"{source if is_source(source) else IN_MEMORY}: no record could be read.")
    notes = list(raw.notes)
    if isinstance(options, Options) and like.is_picture:
        stored, spec = _pictures(raw, like, options, notes)
    else:
        stored, spec = raw.stored, _same(raw, like)
    return Samples(stored, spec, _labels(raw, like, notes), raw.captions, tuple(one_line(note) for note in notes))


def _as_it_is(options: Options) -> Options:
    """Without a size of the data's: pictures of mixed sizes are then found, and all are brought to it afterwards."""
    return options.replace(size=None, resize="error", channels="auto") if isinstance(options, OwnSplits) else options


def _same(raw: Raw, like: DataSpec) -> DataSpec:
    if (raw.table is None) != (like.table is None):
        raise DataError(f"the records of {like.name} are {like.kind}; give records of the same kind.")
    if like.table is not None:
        return like
    if raw.levels != like.levels:
        ours, theirs = (f"{k} levels" if k else "real numbers" for k in (raw.levels, like.levels))
        raise DataError(f"the records are {ours}, but those of {like.name} {theirs}; give records of the same kind.")
    return like.replace(shape=tuple(raw.stored.shape[1:]))


def _pictures(raw: Raw, like: DataSpec, options: Options, notes: list[str]) -> tuple[Tensor, DataSpec]:
    if raw.stored.ndim != 4 or raw.stored.shape[1] not in (1, 3, 4):
        raise DataError(f"expected pictures, got records of shape {tuple(raw.stored.shape[1:])}.")
    as_bytes = like.replace(kind="continuous", levels=256)
    stored, levels, spec = raw.stored, raw.levels, as_bytes
    if levels is None:
        found = _range(stored, like)
        low, high = found if found is not None else like.stored_range
        notes.append(f"real numbers are taken for shades from {low:g} (black) to {high:g} (white)")
        if found is None:
            return stored, like.replace(shape=tuple(stored.shape[1:]))
        parts = [((x.double() - low) * (255.0 / (high - low))).round().clamp(0, 255) for x in stored.split(_CHUNK)]
        stored, levels = torch.cat([part.to(torch.uint8) for part in parts]), 256
    elif raw.names is None and like.levels is not None and like.levels < 256 and int(stored.max()) < like.levels:
        levels = like.levels  # arrays such as `sample --out FILE.npz` writes; picture files hold 0 .. 255
        notes.append(f"values of 0 to {int(stored.max())} are taken for the {levels} levels of {like.name}")
    if levels != 256:
        spec = like.replace(kind="binary" if levels == 2 else "continuous", levels=levels)
    before = tuple(stored.shape[2:])
    stored = prepared(stored, options, levels or 256)
    if tuple(stored.shape[2:]) != before:
        notes.append(f"the pictures are {_by(before)} and are brought to {_by(stored.shape[2:])}, as the data are")
    return stored, spec.replace(shape=tuple(stored.shape[1:]))


def _range(stored: Tensor, like: DataSpec) -> tuple[float, float] | None:
    """The smallest known range of the values; None for that of the data themselves, if those are real numbers."""
    low, high = float(stored.min()), float(stored.max())
    found = _smallest(low, high)
    if like.levels is None:
        own = like.stored_range
        slack = 0.05 * (own[1] - own[0])
        if own[0] - slack <= low and high <= own[1] + slack and found in (None, _smallest(*own)):
            return None
    if found is None:
        raise DataError(
            f"expected shades in 0 to 1, -1 to 1 or 0 to 255, got real numbers from {low:.4g} to {high:.4g}; scale them"
            " to one of these ranges and clip them."
        )
    return found


def _smallest(low: float, high: float) -> tuple[float, float] | None:
    """A little more than 1 is no shade of 0 to 255 but one of 0 to 1 that was not clipped, and of no range."""
    for black, white in _RANGES:
        slack = _TOLERANCE * (white - black)
        if black - slack <= low and high <= white + slack and (white == 1.0 or high >= _LEAST_OF_BYTES):
            return black, white
    return None


def _labels(raw: Raw, like: DataSpec, notes: list[str]) -> Tensor | None:
    if raw.labels is None:
        return None
    strange = [c for c in raw.classes if c not in like.classes]
    if strange:
        notes.append(f"no class is read: {like.name} has none called {listed(strange, 5)}")
        return None
    if bool((raw.labels < 0).any()):
        notes.append(f"no class is read: {int((raw.labels < 0).sum()):,} records have none")
        return None
    return torch.tensor([like.classes.index(c) for c in raw.classes])[raw.labels]


def _by(size: tuple[int, ...] | torch.Size) -> str:
    return "x".join(str(side) for side in size)
