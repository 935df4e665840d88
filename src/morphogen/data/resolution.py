"""The size at which to take the pictures of a folder, where its source names none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from morphogen.core.errors import MorphogenError
from morphogen.data.load import sources
from morphogen.data.picture_files.guards import looks_like_picture, open_file
from morphogen.data.picture_files.reading import header
from morphogen.data.source import parse

_LOOKED_AT = 24  # files


def sized(source: str, side: int) -> tuple[str, int] | None:
    """`source` at `side` pixels, cropped, and the side of most of its pictures; None where it stays as it is.

    It stays if it is no folder, names a size or what to do with other sizes, or holds no larger pictures.
    """
    known = sources()
    parsed = parse(source, known)
    if parsed.name in known or not Path(parsed.name).is_dir() or {"size", "resize"} & set(parsed.options):
        return None
    found = Counter(islice(_sides(Path(parsed.name)), _LOOKED_AT))
    if not found:
        return None
    theirs = found.most_common(1)[0][0]
    if theirs <= side:
        return None
    return f"{source}{',' if parsed.options else ':'}size={side},resize=crop", theirs


def _sides(root: Path) -> Iterator[int]:
    """The shorter side of each picture, as far as headers tell."""
    for folder, inner, files in os.walk(root):
        inner.sort()
        for name in sorted(files):
            path = Path(folder) / name
            try:
                if not looks_like_picture(path):
                    continue
                with open_file(path) as file:
                    known = header(file)
            except (OSError, ValueError, MorphogenError):
                continue
            if known is not None:
                yield min(known.height, known.width)
