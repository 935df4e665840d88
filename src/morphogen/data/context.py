"""A degraded copy of each picture as its condition, for models that restore pictures.

    down4      the mean of each 4 x 4 block of pixels: (C, H, W) -> (C, H / 4, W / 4)
    blur1.5    each channel after a Gaussian blur of 1.5 px
    noise0.2   plus Gaussian noise of standard deviation 0.2, on the scale of x in [-1, 1]
    gray       luma of RGB, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601): (3, H, W) -> (1, H, W)

So y = A x + s n with A linear, rounded and clamped to the values that the picture itself can take, as its file would
hold it. The blur is that of the pixel grid, without flux across the border (Lindeberg, "Scale-space for discrete
signals", 1990): with C the orthonormal cosine transform DCT-II of a side of n pixels, that side is multiplied by

    B = C^T diag(exp(-sigma^2 (1 - cos(pi k / n)))) C,

which keeps the mean and adds variances exactly, B(s_1) B(s_2) = B(sqrt(s_1^2 + s_2^2)).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import DataError, SpecError, unknown
from morphogen.core.printable import shortened
from morphogen.core.rng import Index, Rng

Kind = Literal["down", "blur", "noise", "gray"]
LUMA = (0.299, 0.587, 0.114)
_MAX: Mapping[str, float] = {"down": 4096.0, "blur": 4096.0, "noise": 100.0}
_FORMS = "downK with a whole K from 2 on, blurS with S in pixels, noiseS with S on the scale of [-1, 1], or gray"


@final
@dataclass(frozen=True)
class Degradation:
    """One of the module's; `amount` is the number behind its name, 0 for gray. Its text is its source option."""

    kind: Kind
    amount: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its text. Raises `SpecError` that says what can be written."""
        match = re.fullmatch(r"([a-z]+)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)?", text.strip())
        if match is None:
            raise SpecError(f"a degradation is {_FORMS}")
        kind, amount = match[1], float(match[2] or 0.0)
        if kind not in ("down", "blur", "noise", "gray"):
            raise SpecError(unknown("degradation", kind, ("down", "blur", "noise", "gray")))
        if amount > _MAX.get(kind, math.inf):
            raise SpecError(f"a degradation {kind} takes at most {_MAX[kind]:g} (got {shortened(match[2], 40)})")
        whole = kind != "down" or (amount >= 2 and amount == int(amount))
        if (kind == "gray") != (match[2] is None) or (kind != "gray" and amount <= 0.0) or not whole:
            raise SpecError(f"a degradation is {_FORMS}")
        return cls(cast(Kind, kind), amount)

    @classmethod
    def of(cls, data: DataSpec) -> Self | None:
        """The degradation of the context pictures of `data`, or None."""
        text = data.preprocessing.get("context")
        return None if text is None else cls.parse(text)

    def __str__(self) -> str:
        return self.kind if self.kind == "gray" else f"{self.kind}{self.amount:.12g}"

    @property
    def scale(self) -> int:
        """How many times a side of the picture is that of its degraded copy."""
        return int(self.amount) if self.kind == "down" else 1

    @property
    def noise_std(self) -> float:
        """s, the standard deviation of the noise."""
        return self.amount if self.kind == "noise" else 0.0

    def shape(self, shape: tuple[int, ...], levels: int | None) -> tuple[int, ...]:
        """That of the degraded copies of records of `shape` with `levels` values. Raises `DataError` without any."""
        if len(shape) != 3 or shape[0] not in (1, 3) or levels is None:
            raise DataError(f"context={self} degrades gray or RGB pictures; these are records of shape {shape}.")
        if levels == 2:
            raise DataError(f"context={self} makes shades, which binary pictures cannot have: leave out binary.")
        channels, height, width = shape
        if self.kind == "gray":
            if channels != 3:
                raise DataError("context=gray takes the color away, and these pictures have none: use RGB pictures.")
            return (1, height, width)
        if height % self.scale or width % self.scale:
            raise DataError(
                f"context={self} takes means of blocks of side {self.scale}, which does not divide pictures of"
                f" {height}x{width} (height x width): choose another scale, or another size=."
            )
        return (channels, height // self.scale, width // self.scale)

    def linear(self, x: Tensor) -> Tensor:
        """A x, for pictures (B, C, H, W)."""
        if self.kind == "down":
            return F.avg_pool2d(x, self.scale)
        if self.kind == "blur":
            down, across = (_blur(side, self.amount).to(x) for side in x.shape[-2:])
            return down @ x @ across
        if self.kind == "gray":
            return (x * torch.tensor(LUMA).to(x).view(1, 3, 1, 1)).sum(1, keepdim=True)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y, for pictures (B, C, h, w)."""
        if self.kind == "down":
            return F.interpolate(y, scale_factor=self.scale, mode="nearest") / self.scale**2
        if self.kind == "gray":
            return y * torch.tensor(LUMA).to(y).view(1, 3, 1, 1)
        return self.linear(y)  # symmetric

    def nearest(self, x: Tensor, y: Tensor) -> Tensor:
        """The pictures nearest to x (B, C, H, W) whose copies are y, x + A^T (A A^T)^-1 (y - A x), for down and gray.

        There A A^T is a number times the identity. Others hide no part of a picture and show none exactly: x itself.
        """
        if self.kind not in ("down", "gray"):
            return x
        square = sum(weight**2 for weight in LUMA) if self.kind == "gray" else self.scale**-2
        return x + self.adjoint(y - self.linear(x)) / square

    def apply(self, x: Tensor, levels: int, rng: Rng, index: Index) -> Tensor:
        """The degraded copies of pictures x (B, C, H, W) in [-1, 1], with noise at the addresses `index`."""
        y = self.linear(x)
        if self.noise_std:
            y = y + self.noise_std * rng.normal("context", index, y.shape[1:]).to(y)
        half = 0.5 * (levels - 1)
        return ((y + 1.0) * half).round().clamp(0, levels - 1) / half - 1.0


@lru_cache(maxsize=16)
def _blur(n: int, sigma: float) -> Tensor:
    """B (n, n), symmetric."""
    k, j = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    cosines = (math.pi * k * (j + 0.5) / n).cos() * (2.0 / n) ** 0.5  # (k, j)
    cosines[0] *= 0.5**0.5
    return cosines.T @ (torch.exp(-(sigma**2) * (1.0 - torch.cos(math.pi * k / n))) * cosines)
