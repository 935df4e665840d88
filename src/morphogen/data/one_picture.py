"""Prepare one picture of a user for a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, UsageError
from morphogen.core.printable import one_line
from morphogen.data.arrays import pictures_from
from morphogen.data.options import PREPARATION, Options
from morphogen.data.picture_files.guards import open_file
from morphogen.data.picture_files.reading import decode_image
from morphogen.data.pictures import Resample, decode, with_channels, with_size

Image = Path | str | np.ndarray | PIL.Image.Image  # a file, bytes (H, W) or (H, W, channels), an image


def read(image: Image, data: DataSpec | None = None) -> Tensor:
    """(1, C, H, W) uint8, by the range of `data` where values have more than 8 bits. Raises `DataError`."""
    bits = None if data is None else data.preprocessing.get("bits")
    if isinstance(image, PIL.Image.Image):
        try:
            return decode_image(image, bits)[None]
        except DataError as error:
            raise DataError(f"the picture {error}.") from None
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim not in (2, 3):
            raise DataError(f"a picture is bytes (H, W) or (H, W, channels), not {image.dtype} of shape {image.shape}.")
        return pictures_from(image[None])
    try:
        with open_file(Path(image)) as file:
            return decode(file, bits)[None]
    except OSError as error:
        raise DataError(f"{one_line(str(image))}: {error.strerror or error}.") from None
    except DataError as error:
        raise DataError(f"{one_line(str(image))} {error}.") from None


def options_of(data: DataSpec) -> Options:
    """How pictures like the model's are prepared. Raises `UsageError` where its records are none."""
    if not data.is_picture:
        raise UsageError(f"this takes a model of pictures; this one's records have shape {data.shape}.")
    known = {key: value for key, value in data.preprocessing.items() if key in PREPARATION}
    channels = {1: "gray", 3: "rgb", 4: "rgba"}[data.shape[0]]
    return Options.parse({**known, "size": by(data.shape[1:]), "channels": channels})


def mask_of(stored: Tensor, data: DataSpec, image: Image, tiles: bool) -> Tensor:
    """What is to be redrawn, (1, 1, H, W) bool at the size of `fitted`: each pixel that white (128 to 255) touches.

    Raises `UsageError` where that is none.
    """
    gray = with_channels(stored, "gray", (0, 0, 0))
    white, largest = gray > 127, int(gray.max())
    if not white.any():
        came = "is black" if largest == 0 else f"has values of at most {largest}, where white is 255 (128 and more)"
        raise UsageError(f"the mask {came}: nothing would be redrawn; make white what is to be.")
    options = options_of(data).replace(channels="gray", background="#000000")
    redrawn = _sized(white.to(torch.uint8) * 255, data, image, tiles, options, _touched) > 127
    if not redrawn.any():
        raise UsageError(
            f"of the mask's {int(white.sum()):,} white pixels of {by(gray.shape[2:])} none is left at"
            f" {by(redrawn.shape[2:])}, as its borders are cut off (resize={options.resize}): nothing would be redrawn."
        )
    return redrawn


def _touched(x: Tensor, height: int, width: int, levels: int) -> Tensor:
    """The largest of the values that a pixel covers, in part or in whole."""
    return F.adaptive_max_pool2d(x.float(), (height, width)).to(x.dtype)


def fitted(stored: Tensor, data: DataSpec, image: Image, tiles: bool | None) -> Tensor:
    """With the model's channels and size, or any larger size for `tiles`; None: there are no tiles to suggest."""
    options = options_of(data)
    x = with_channels(stored, options.channels, options.background_rgb)
    return _sized(x, data, image, tiles, options, None)


def _sized(
    x: Tensor, data: DataSpec, image: Image, tiles: bool | None, options: Options, resample: Resample | None
) -> Tensor:
    if not tiles:
        try:
            return with_size(x, options, resample=resample)
        except DataError:
            otherwise = "" if tiles is None else ", or edit it at its own size with --tiles"
            raise DataError(
                f"{name_of(image)} is {by(x.shape[2:])} and this model's pictures are {by(data.shape[1:])} (height x"
                f" width): cut it to the same proportions{otherwise}."
            ) from None
    if any(side < least for side, least in zip(x.shape[2:], data.shape[1:], strict=True)):
        raise DataError(
            f"{name_of(image)} is {by(x.shape[2:])}, smaller than the model's {by(data.shape[1:])} (height x width):"
            " leave --tiles out, and it is enlarged."
        )
    return x


def values(stored: Tensor, data: DataSpec) -> Tensor:
    """Bytes as the model's x, rounded to its levels."""
    if data.kind == "continuous" and data.levels is None:
        return stored.float() * (2.0 / 255.0) - 1.0
    return data.encode((stored.float() * ((data.levels or 2) - 1) / 255.0).round())


def name_of(image: Image) -> str:
    """The name of a picture in messages."""
    return one_line(str(image)) if isinstance(image, Path | str) else "the picture"


def by(size: Any) -> str:
    """A size in words: height x width."""
    return f"{size[0]}x{size[1]}"
