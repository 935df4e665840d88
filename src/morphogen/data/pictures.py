"""Bytes to pictures of one size and one number of channels, by a stated policy.

Order of operations: orientation from EXIF, palette and 16-bit values to 8 bits a channel, transparency
laid on the background, then gray or color, then the size. Resampling is bicubic with an antialiasing
filter (Keys, "Cubic convolution interpolation", 1981); pictures with alpha are resampled premultiplied.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import IO

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from morphogen.core.errors import DataError
from morphogen.data.options import Channels, Options
from morphogen.data.records import Problem

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_CHUNK = 2048
_MOST_BYTES = 8 << 30
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")

Opener = Callable[[], IO[bytes]]


def decode(file: IO[bytes]) -> Tensor:
    """One picture file as (C, H, W) uint8 with C = 1, 3 or 4. Raises `DataError` that says why not."""
    try:
        with warnings.catch_warnings(), Image.open(file) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise DataError(f"holds {getattr(image, 'n_frames', 1)} frames, expected one picture")
            return _bytes_of(ImageOps.exif_transpose(image))
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Warning) as error:
        raise DataError(f"cannot be read as a picture ({_reason(error)})") from None


def size_of(file: IO[bytes]) -> tuple[int, int] | None:
    """(height, width) of a picture from its header; None if it cannot be read."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
            return (width, height) if turned else (height, width)
    except Exception:  # whatever is wrong, `decode` says it
        return None


def _bytes_of(image: Image.Image) -> Tensor:
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"has values from {values.min()} to {values.max()}, expected at most 16 bits")
        return torch.from_numpy(((values + 128) // 257).astype(np.uint8))[None]  # round(v / 257)
    if image.mode == "F":
        raise DataError("holds 32-bit floating point values; store it with 8 or 16 bits, or use .npz")
    if image.mode not in ("L", "RGB", "RGBA"):
        has_alpha = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa")
        image = image.convert("RGBA" if has_alpha else "L" if image.mode == "1" else "RGB")
    elif "transparency" in image.info and image.mode != "RGBA":
        image = image.convert("RGBA")
    values = np.array(image)
    return torch.from_numpy(values[None] if values.ndim == 2 else np.ascontiguousarray(values.transpose(2, 0, 1)))


def _reason(error: BaseException) -> str:
    words = str(error).split("<_io")[0].strip() or type(error).__name__
    return words.rstrip(" .:")


def with_channels(x: Tensor, channels: Channels, background: tuple[int, int, int]) -> Tensor:
    """(N, C, H, W) uint8 to one channel (gray), three (rgb) or four (rgba); "auto" only removes alpha."""
    if x.shape[1] == 4 and channels != "rgba":
        alpha = x[:, 3:].to(torch.int32)
        under = torch.tensor(background, dtype=torch.int32).view(1, 3, 1, 1)
        x = ((x[:, :3] * alpha + under * (255 - alpha) + 127) // 255).to(torch.uint8)
    if channels == "gray" and x.shape[1] == 3:
        weights = torch.tensor(_LUMA).view(1, 3, 1, 1)
        return (x * weights).sum(1, keepdim=True).round().to(torch.uint8)
    if channels in ("rgb", "rgba") and x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if channels == "rgba" and x.shape[1] == 3:
        x = torch.cat((x, torch.full_like(x[:, :1], 255)), dim=1)
    return x.contiguous()


def with_size(x: Tensor, options: Options, levels: int = 256) -> Tensor:
    """(N, C, H, W) uint8 to the size of `options` (unchanged if it has none), by its resize policy.

    Raises `DataError` if the shape does not fit and the policy is "error".
    """
    if options.target is None or options.target == tuple(x.shape[2:]):
        return x
    (height, width), (old_height, old_width) = options.target, x.shape[2:]
    if options.resize == "rotate" and (old_width, old_height) == (height, width):
        return x.transpose(2, 3).flip(2).contiguous()  # a quarter turn to the left
    if options.resize == "stretch" or old_height * width == old_width * height:
        return _resampled(x, height, width, levels)
    if options.resize in ("error", "rotate"):
        raise DataError(
            f"is {old_height}x{old_width} and does not fit {height}x{width} (height x width);"
            f" choose resize=crop, resize=pad or resize=stretch"
        )
    pick = max if options.resize == "crop" else min
    scale = pick(height / old_height, width / old_width)
    x = _resampled(x, max(1, round(old_height * scale)), max(1, round(old_width * scale)), levels)
    if options.resize == "crop":
        top, left = (x.shape[2] - height) // 2, (x.shape[3] - width) // 2
        return x[:, :, top : top + height, left : left + width].contiguous()
    mode: Channels = "gray" if x.shape[1] == 1 else "rgb" if x.shape[1] == 3 else "rgba"
    color = with_channels(torch.tensor(options.background_rgb, dtype=torch.uint8).view(1, 3, 1, 1), mode, (0, 0, 0))
    color = (color.to(torch.int32) * (levels - 1) // 255).to(torch.uint8)
    canvas = color.expand(len(x), -1, height, width).clone()
    top, left = (height - x.shape[2]) // 2, (width - x.shape[3]) // 2
    canvas[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    return canvas


def _resampled(x: Tensor, height: int, width: int, levels: int) -> Tensor:
    chunks = []
    for part in x.split(_CHUNK):
        y = part.to(torch.float32)
        if y.shape[1] == 4:
            y = torch.cat((y[:, :3] * (y[:, 3:] / 255.0), y[:, 3:]), dim=1)
        y = functional.interpolate(y, (height, width), mode="bicubic", antialias=True, align_corners=False)
        if y.shape[1] == 4:
            alpha = y[:, 3:].clamp(0.0, 255.0)
            y = torch.cat((torch.where(alpha > 0, y[:, :3] * (255.0 / alpha.clamp_min(1e-6)), 0.0), alpha), dim=1)
        chunks.append(y.round_().clamp_(0, levels - 1).to(torch.uint8))
    return torch.cat(chunks)


def prepared(x: Tensor, options: Options, levels: int = 256) -> Tensor:
    """A stack of pictures (N, C, H, W) uint8 with the channels and the size of `options`."""
    try:
        return with_size(with_channels(x, options.channels, options.background_rgb), options, levels)
    except DataError as error:
        raise DataError(f"every picture {error}.") from None


def collect(
    names: Sequence[str], openers: Sequence[Opener], options: Options
) -> tuple[Tensor, list[int], list[Problem]]:
    """Read picture files one by one: (N, C, H, W) uint8, the positions that were read, and the problems.

    Without a size option all pictures must have the commonest size; the others are problems.
    """
    common = options.target or _commonest_size(openers)
    wanted = options if common is None else options.replace(size=f"{common[0]}x{common[1]}")
    if common is not None and len(names) * common[0] * common[1] * 3 > _MOST_BYTES:
        raise DataError(
            f"{len(names)} pictures of {common[0]}x{common[1]} do not fit into {_MOST_BYTES >> 30} GiB of memory;"
            f" choose a smaller size, such as size=64,resize=crop."
        )
    pictures: list[Tensor] = []
    kept: list[int] = []
    problems: list[Problem] = []
    for position, (name, opener) in enumerate(zip(names, openers, strict=True)):
        try:
            with opener() as file:
                picture = decode(file)[None]
            if options.target is None and tuple(picture.shape[2:]) != common and options.resize != "rotate":
                assert common is not None
                raise DataError(
                    f"is {picture.shape[2]}x{picture.shape[3]}, most are {common[0]}x{common[1]} (height x width);"
                    f" choose a size and how to reach it, such as size=64,resize=crop"
                )
            picture = with_channels(picture, options.channels, options.background_rgb)
            pictures.append(with_size(picture, wanted))
            kept.append(position)
        except (DataError, OSError) as error:
            problems.append(Problem(name, str(error)))
    if not pictures:
        return torch.empty(0, 1, 0, 0, dtype=torch.uint8), kept, problems
    most = max(p.shape[1] for p in pictures)  # "auto": color if any picture has color
    if most == 3:
        pictures = [with_channels(p, "rgb", options.background_rgb) for p in pictures]
    return torch.cat(pictures), kept, problems


def _commonest_size(openers: Sequence[Opener]) -> tuple[int, int] | None:
    sizes: Counter[tuple[int, int]] = Counter()
    for opener in openers:
        try:
            with opener() as file:
                size = size_of(file)
        except OSError:
            continue
        if size is not None:
            sizes[size] += 1
    # Ties go to the smaller size, so that the answer does not depend on the order of the files.
    return min(sizes, key=lambda s: (-sizes[s], s)) if sizes else None
