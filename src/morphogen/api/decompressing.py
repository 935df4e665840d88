"""Archives: their records, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from morphogen.api.archive_models import archive_of, reading_family
from morphogen.api.opened import AnyModel
from morphogen.api.results.archives import Archive, Decompressed
from morphogen.api.results.shown import warn_of
from morphogen.applications.compression import archives, folders
from morphogen.applications.compression.archives import Tally


def decompress(file: Path | str, model: AnyModel | None = None, out: Path | str | None = None) -> Decompressed:
    """Read the records of an archive: the same bytes and names that were packed.

    Blocks that are damaged are left out, and told; no block ever gives other values than were packed.

    Args:
        file: the archive.
        model: the model that it was made with, where it needs one that is not inside.
        out: also write FILE.npz, or pictures into a new folder DIR.

    Returns:
        The records.

    Raises:
        DataError: no archive, one of a newer version, or one of which no block can be read.
        ArtifactError: another model than the one that it was made with.

    Example:
        >>> mg.compress("runs/integers", "digits", "whole.mgz", split="test", with_model=True).exact
        True
        >>> mg.decompress("whole.mgz").x.shape
        (299, 1, 8, 8)
    """
    path, tally = Path(file), Tally()
    header = archives.read_header(path)
    with reading_family(path, header, model) as family:
        found = folders.collected(archives.read(path, header, family, tally), header, tally)
    read = Decompressed(
        found.x, found.names, found.places, header.levels, round(tally.seconds, 2), warn_of(tally.problems)
    )
    if out is not None:
        folders.write(Path(out), found, header.levels)
    return read


def decompressing(
    file: Path | str, model: AnyModel | None = None, out: Path | str | None = None, *, overwrite: bool = False
) -> Iterator[Decompressed]:
    """Read the records of an archive as a loop over its blocks, for one that is larger than memory.

    Args:
        file, model: as of `decompress`.
        out: also write the pictures into a new folder DIR, which is there when the loop has ended.
        overwrite: replace a folder of that name, with all that is in it.

    Returns:
        The records of each block. Damaged blocks are left out, and the next one tells of them in its `warnings`; those
        at the end of the archive are told by an empty last one.

    Raises:
        DataError: no archive, or one of a newer version.
        ArtifactError: another model than the one that it was made with.

    Example:
        >>> mg.compress(None, "digits", "plain.mgz").records
        1797
        >>> sum(len(block) for block in mg.decompressing("plain.mgz"))
        1797
    """
    path, tally, told = Path(file), Tally(), 0
    header = archives.read_header(path)
    with ExitStack() as opened:
        family = opened.enter_context(reading_family(path, header, model))
        add = None if out is None else opened.enter_context(folders.picture_folder(Path(out), header.levels, overwrite))
        for block in archives.read(path, header, family, tally):
            found = folders.alone(block)
            if add is not None:
                add(found)
            problems, told = tally.problems[told:], len(tally.problems)
            yield Decompressed(found.x, found.names, found.places, header.levels, 0.0, warn_of(problems))
    if tally.problems[told:]:
        none = np.empty((0, *header.shape), np.uint8)
        yield Decompressed(none, None, np.arange(0), header.levels, 0.0, warn_of(tally.problems[told:]))


def describe_archive(file: Path | str, model: AnyModel | None = None, *, verify: bool = False) -> Archive:
    """Tell what is in an archive, its rate, and the model that it needs.

    Args:
        file: the archive.
        model: where it needs one, to verify it by.
        verify: also decode every block where the model is at hand; without it only checksums of the code are compared.

    Returns:
        The archive, with everything that is damaged among its warnings.

    Raises:
        DataError: no archive, or one of a newer version.

    Example:
        >>> mg.compress(None, "digits", "digits.mgz").blocks
        {'plain': 1}
        >>> mg.describe_archive("digits.mgz", verify=True).warnings
        ()
    """
    path, tally = Path(file), Tally()
    header = archives.read_header(path)
    if verify:
        with reading_family(path, header, model) as family:
            for _ in archives.read(path, header, family, tally):
                pass
    else:
        for _ in archives.blocks(path, tally):
            pass
    return archive_of(path, header, tally, {}, 0)
