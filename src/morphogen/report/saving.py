"""Write results to files. The suffix decides the format, and files are written as a whole."""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from morphogen.core.errors import UsageError
from morphogen.core.paths import check_depth
from morphogen.report.json_text import as_json

PLACES = ("model", "image", "mask", "directions", "data")  # entries of recipes that are paths, or sources
_MAX = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # pixels a side
_MAX_EXIF = 60_000  # bytes, of 65,535 for all of it


def picture_file(image: Image.Image, recipe: Mapping[str, Any] | None = None, suffix: str = ".png") -> bytes:
    """An image as a file that says which versions made it, and by which `recipe`: .png, .jpg, .jpeg or .webp.

    Paths in the recipe lose the folders of their maker. The recipe is in a text chunk of PNG, elsewhere in the Exif
    description. WebP keeps the pixels as they are, JPEG does not. Raises `UsageError` for more pixels than the format
    has room for.
    """
    about = {"version": version("morphogen"), "torch": version("torch")}
    maker = f"morphogen {about['version']}"
    text = None if recipe is None else as_json({**_without_folders(recipe), **about})
    if suffix in _MAX and max(image.size) > _MAX[suffix]:
        size = f"{image.width:,} x {image.height:,}"
        raise UsageError(f"a {suffix} file has at most {_MAX[suffix]:,} pixels a side (got {size}): write a .png.")
    out = io.BytesIO()
    if suffix == ".png":
        info = PngInfo()
        info.add_text("Software", maker)
        if text is not None:
            info.add_text("morphogen", text)
        image.save(out, "PNG", pnginfo=info)
        return out.getvalue()
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = maker
    if text is not None and len(text) < _MAX_EXIF:
        exif[ExifTags.Base.ImageDescription] = text
    if suffix == ".webp":
        image.save(out, "WEBP", lossless=True, exif=exif)
    else:
        opaque = Image.new("RGB", image.size, "white")
        opaque.paste(image, mask=image if image.mode == "RGBA" else None)
        (opaque if image.mode != "L" else image).save(out, "JPEG", quality=95, subsampling=0, exif=exif)
    return out.getvalue()


def png(image: Image.Image, recipe: Mapping[str, Any] | None = None) -> bytes:
    """`picture_file` as PNG."""
    return picture_file(image, recipe)


def npz(arrays: Mapping[str, Any]) -> bytes:
    """Arrays as a compressed .npz that `numpy.load` reads without pickle; None is left out.

    Raises `UsageError` for a value that no plain array holds.
    """
    out = io.BytesIO()
    ready: dict[str, Any] = {name: np.asarray(value) for name, value in arrays.items() if value is not None}
    for name, value in ready.items():
        if value.dtype.hasobject:
            raise UsageError(f"{name} is no array of numbers or text, and no file of ours holds anything else.")
    np.savez_compressed(out, **ready)
    return out.getvalue()


def json_file(value: Mapping[str, Any]) -> bytes:
    """A JSON document."""
    return (as_json(value, ascii=False) + "\n").encode()


def chosen_format(path: Path | str, formats: Sequence[str]) -> str:
    """The suffix of `path`, which has to be one of `formats`. Raises `UsageError` that lists them."""
    suffix = Path(path).suffix.lower()
    if suffix not in formats:
        raise UsageError(f"{path}: expected a name that ends in {' or '.join(formats)}.")
    return suffix


def write_whole(path: Path | str, data: bytes) -> Path:
    """Write a file by way of a temporary one beside it, and make the folders above it. Raises `OSError`."""
    target = Path(path).expanduser()
    check_depth(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(data)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _without_folders(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _unplaced(value) if name in PLACES else value for name, value in recipe.items()}


def _unplaced(place: Any) -> Any:
    """A path or source without the folders of its maker: as typed if that is below the current one, else its name."""
    if not isinstance(place, str):
        return place
    path, colon, options = place.partition(":")
    inside = not Path(path).is_absolute() and ".." not in Path(path).parts
    return (path if inside else Path(path).resolve().name) + colon + options
