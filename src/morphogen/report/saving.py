"""Results as files: the suffix decides the format, and a file is whole or not there."""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from morphogen.core.errors import UsageError


def png(image: Image.Image, recipe: Mapping[str, Any] | None = None) -> bytes:
    """An image as PNG, whose text chunks say which versions made it, and by which `recipe`."""
    about = {"version": version("morphogen"), "torch": version("torch")}
    info = PngInfo()
    info.add_text("Software", f"morphogen {about['version']}")
    if recipe is not None:
        info.add_text("morphogen", json.dumps({**recipe, **about}))
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info)
    return out.getvalue()


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


def as_json(value: Mapping[str, Any]) -> bytes:
    """A JSON document."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def chosen_format(path: Path | str, formats: Sequence[str]) -> str:
    """The suffix of `path`, which has to be one of `formats`. Raises `UsageError` that lists them."""
    suffix = Path(path).suffix.lower()
    if suffix not in formats:
        raise UsageError(f"{path}: expected a name that ends in {' or '.join(formats)}.")
    return suffix


def write_whole(path: Path | str, data: bytes) -> Path:
    """Write a file by way of a temporary one beside it, and make the folders above it. Raises `OSError`."""
    target = Path(path).expanduser()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(data)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target
