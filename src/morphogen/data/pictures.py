"""Pictures of bytes to one size and one number of channels, by a stated policy.

Order of operations: transparency laid on the background, then gray or color, then the size. Resampling is bicubic with
an antialiasing filter (Keys, "Cubic convolution interpolation", 1981); pictures with alpha are resampled premultiplied.
`picture_files/` makes bytes of files.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from morphogen.core.errors import DataError
from morphogen.data.options import Channels, Options
from morphogen.data.picture_files.reading import decode as decode

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_CHUNK = 2048
_LARGE = 1 << 25  # elements above which a picture is worked on in parts, to save memory
_MAX = 1 << 28  # elements on the way to a size


def with_channels(x: Tensor, channels: Channels, background: tuple[int, int, int]) -> Tensor:
    """(N, C, H, W) uint8 to one channel (gray), three (rgb) or four (rgba); "auto" only removes alpha."""
    if len(x) == 1 and x.numel() > _LARGE and x.shape[2] > 1:
        halves = x.tensor_split(2, dim=2)
        return torch.cat([with_channels(half, channels, background) for half in halves], dim=2)
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


Resample = Callable[[Tensor, int, int, int], Tensor]


def with_size(x: Tensor, options: Options, levels: int = 256, resample: Resample | None = None) -> Tensor:
    """(N, C, H, W) uint8 to the size of `options` (unchanged if it has none), by its resize policy.

    `resample` (x, height, width, levels) is bicubic by default.

    Raises `DataError` if the shape does not fit and the policy is "error".
    """
    if options.target is None or options.target == tuple(x.shape[2:]):
        return x
    (height, width), (old_height, old_width) = options.target, x.shape[2:]
    if options.resize == "rotate" and (old_width, old_height) == (height, width):
        return x.transpose(2, 3).flip(2).contiguous()  # a quarter turn to the left
    if options.resize == "stretch" or old_height * width == old_width * height:
        return (resample or _resampled)(x, height, width, levels)
    if options.resize in ("error", "rotate"):
        raise DataError(
            f"is {old_height}x{old_width} and does not fit {height}x{width} (height x width);"
            f" choose resize=crop, resize=pad or resize=stretch"
        )
    pick = max if options.resize == "crop" else min
    scale = pick(height / old_height, width / old_width)
    if old_height * scale * old_width * scale * x.shape[1] > _MAX:
        raise DataError(
            f"is {old_height}x{old_width} (height x width), too long and narrow to be cut to {height}x{width}"
        )
    x = (resample or _resampled)(x, max(1, round(old_height * scale)), max(1, round(old_width * scale)), levels)
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
    if len(x) == 1 and x.shape[1] == 3 and x.numel() > _LARGE:
        return torch.cat([_resampled(x[:, c : c + 1], height, width, levels) for c in range(3)], dim=1)
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
