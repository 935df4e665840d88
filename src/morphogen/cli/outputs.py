"""Where results go: the suffix decides the format, nothing is overwritten unasked, and a file is whole or not there."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import UsageError, __version__
from morphogen.cli.console import as_json

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace --out where it exists.")]
FOLDER = "DIR/"
_PLACES = ("model", "image", "mask", "directions", "data")  # entries of recipes that are paths, or sources


@dataclass(frozen=True)
class Output:
    """A path to write to, in the format that its suffix names: one of the given suffixes, or `FOLDER`."""

    path: Path
    format: str

    @classmethod
    def parse(cls, text: str, formats: Sequence[str], overwrite: bool) -> Output:
        """Check `--out` before any work is done. Raises `UsageError` with what to do instead.

        A folder is what ends in a slash, or exists as one, or has no suffix.
        """
        path = Path(text)
        is_folder = text.endswith(("/", os.sep)) or path.is_dir() or not path.suffix
        kind = FOLDER if is_folder else path.suffix.lower()
        if kind not in formats:
            known = ", ".join(f if f == FOLDER else f"FILE{f}" for f in formats)
            came = "a folder" if is_folder else f"the suffix {path.suffix!r}"
            raise UsageError(f"--out {text}: cannot write to {came}; known are {known}.")
        if is_folder and path.exists() and not path.is_dir():
            raise UsageError(f"--out {text}: {path} is a file, no folder; choose another name.")
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            if not overwrite:
                raise UsageError(f"--out {text} exists: choose another name, or add --overwrite to replace it.")
            if is_folder and any(not re.fullmatch(r"\d+\.png", entry.name) for entry in path.iterdir()):
                raise UsageError(
                    f"--out {text} holds more than numbered pictures, so --overwrite does not replace it:"
                    " choose another folder."
                )
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK):
            raise UsageError(f"--out {text}: {parent} is no folder that can be written to; choose another place.")
        return cls(path, kind)

    def write(self, data: bytes) -> None:
        """Write a file by way of a temporary one beside it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.part{os.getpid()}")
        try:
            part.write_bytes(data)
            os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)

    def write_folder(self, files: Mapping[str, bytes]) -> None:
        """Write a folder by way of a temporary one beside it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.part{os.getpid()}")
        try:
            part.mkdir()
            for name, data in files.items():
                (part / name).write_bytes(data)
            if self.path.exists():  # empty, or nothing but numbered pictures: `parse` has seen to it
                shutil.rmtree(self.path)
            os.replace(part, self.path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def png(image: Any, recipe: Mapping[str, Any]) -> bytes:
    """A PIL image as PNG whose text chunks say how it was made, and by which versions."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", f"morphogen {__version__}")
    said = {name: _unplaced(value) if name in _PLACES else value for name, value in recipe.items()}
    info.add_text("morphogen", as_json({**said, "version": __version__, "torch": version("torch")}))
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info)
    return out.getvalue()


def _unplaced(place: Any) -> Any:
    """A path or source without the folders of its maker: as typed if that is below the current one, else its name."""
    if not isinstance(place, str):
        return place
    path, colon, options = place.partition(":")
    inside = not Path(path).is_absolute() and ".." not in Path(path).parts
    return (path if inside else Path(path).resolve().name) + colon + options


def labels(pictures: Any) -> dict[str, Any]:
    """Their classes as arrays that an .npz source reads, for records that have any."""
    if pictures.labels is None:
        return {}
    return {"labels": pictures.labels, "class_names": list(pictures.spec.classes)}


def npz(arrays: Mapping[str, Any]) -> bytes:
    """Arrays as a compressed .npz that `numpy.load` reads without pickle; None is left out."""
    import numpy as np

    out = io.BytesIO()
    ready: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    if objects := [name for name, array in ready.items() if array.dtype == object]:
        raise TypeError(f"the arrays {objects} hold Python objects, which only pickle can store")
    np.savez_compressed(out, **ready)
    return out.getvalue()
