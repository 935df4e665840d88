"""`Shown`: a result that has a picture and arrays; `Brief`: one that does not print its arrays."""

from __future__ import annotations

import io
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from PIL.Image import Image

from morphogen.core.errors import MorphogenWarning
from morphogen.core.printable import shortened
from morphogen.report.saving import chosen_format, npz, picture_file, write_whole

MOST_SHOWN = 4  # values of a list that are printed one by one
_PACKAGE = str(Path(__file__).parents[2])


class Brief:
    """A result that prints its arrays by their shape."""

    def __init_subclass__(cls) -> None:
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = Brief.__repr__  # type: ignore[method-assign]  # or `dataclass` would print all numbers

    def __repr__(self) -> str:
        said = (f"{field.name}={_briefly(getattr(self, field.name))}" for field in fields(self) if field.repr)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(said)})"


class Shown(Brief, ABC):
    """A result with an image for people and arrays for programs."""

    @abstractmethod
    def image(self) -> Image:
        """The result as one picture. Raises `DataError` for records that are no pictures."""

    @abstractmethod
    def arrays(self) -> Mapping[str, Any]:
        """The result as named arrays, which an .npz file holds."""

    def save(self, path: Path | str) -> Path:
        """Write the result: its picture as .png, .jpg or .webp, or its arrays as .npz. A file of that name is replaced.

        Args:
            path: the file to write; `~` is the home folder.

        Returns:
            The path of the file.

        Raises:
            UsageError: the name ends in none of these.
            DataError: a picture is asked for, and the records are no pictures.
        """
        kind = chosen_format(path, (".png", ".jpg", ".jpeg", ".webp", ".npz"))
        data = npz(self.arrays()) if kind == ".npz" else picture_file(self.image(), suffix=kind)
        return write_whole(path, data)

    def _repr_png_(self) -> bytes | None:
        """The picture in a notebook; nothing for records that are no pictures."""
        spec = getattr(self, "spec", None)
        if spec is not None and not spec.is_picture and spec.shape != (2,):
            return None
        out = io.BytesIO()
        self.image().save(out, "PNG")
        return out.getvalue()


def _briefly(value: Any) -> str:
    """Arrays by their shape, and long values cut."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"<{dtype} {tuple(shape)}>"
    if isinstance(value, list | tuple) and len(value) > MOST_SHOWN:
        return f"<{len(value):,} of {type(value[0]).__name__}>"
    return shortened(repr(value))


def warn_of(sentences: Iterable[str]) -> tuple[str, ...]:
    """The sentences, each of them also given as a `MorphogenWarning` at the line that called the API."""
    found = tuple(sentences)
    for sentence in found:
        warnings.warn(sentence, MorphogenWarning, stacklevel=_levels_to_the_caller())
    return found


def _levels_to_the_caller() -> int:
    """How many frames above `warn_of` the first one outside of this package is."""
    frame, levels = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, levels = frame.f_back, levels + 1
    return levels
