"""Sample pictures larger than the model's size, by overlapping windows (Bar-Tal et al., "MultiDiffusion", 2023).

Each window has the model's size and shows a part of x_t. The estimates of all windows for the same pixel are averaged.
At place p, with o_i the corner of window i and D its estimate,

    E[x_0 | x_t](p) = sum_i w(p - o_i) D(window_i of x_t)(p - o_i) / sum_i w(p - o_i),

which minimizes the weighted sum of squared distances to them. The variance is averaged in the same way. The weights are
bell-shaped,

    w(j, k) = sin^2(pi (j + 1/2) / height) sin^2(pi (k + 1/2) / width),

so windows leave no visible edges. Neighbors overlap by half or more. The result is exact if pixels are independent.
Otherwise a window uses only the pixels inside it, and relations over longer distances are lost.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.chunks import chunks
from morphogen.core.distributions import Gaussian
from morphogen.core.errors import UsageError
from morphogen.sampling.denoiser import Denoiser
from morphogen.theory.schedules import Schedule

Place = tuple[int, int]  # a window's row and column of its first pixel


@final
@dataclass(frozen=True)
class Tiled:
    """`denoiser` of pictures (B, C, *window), for pictures of at least that size. Exactly that size passes through.

    The context of the condition is cut into windows too; its sides must divide those of the picture.

    at_once  number of windows that are denoised together
    """

    denoiser: Denoiser
    window: tuple[int, int]
    at_once: int = 64

    @property
    def schedule(self) -> Schedule:
        """The denoiser's."""
        return self.denoiser.schedule

    def posterior(self, x_t: Tensor, t: Tensor, cond: RawCondition | None = None) -> Gaussian:
        """The averaged mean and variance for x_t (B, C, H, W) and t of shape () or (B,)."""
        size, window = (x_t.shape[-2], x_t.shape[-1]), self.window
        if size == window:
            return self.denoiser.posterior(x_t, t, cond)
        n, t = len(x_t), t.expand(len(x_t))
        ratios = self._ratios(size, cond)
        rows, columns = (starts(side, w, r) for side, w, r in zip(size, window, ratios, strict=True))
        bell = (_bell(window[0])[:, None] * _bell(window[1])).to(x_t)
        mean, var, weight = torch.zeros_like(x_t), torch.zeros_like(x_t), x_t.new_zeros(size)
        every, group = list(itertools.product(rows, columns)), max(1, self.at_once // n)
        for some in chunks(len(every), group):
            places = every[some]
            parts = torch.cat([_cut(x_t, place, window) for place in places])
            given = None if cond is None else _repeated(cond, places, n, window, ratios)
            found = self.denoiser.posterior(parts, t.repeat(len(places)), given)
            for place, m, v in zip(places, found.mean.split(n), found.var.split(n), strict=True):
                _cut(mean, place, window).add_(bell * m)
                _cut(var, place, window).add_(bell * v)
                _cut(weight, place, window).add_(bell)
        return Gaussian(mean / weight, (var / weight).log())

    def _ratios(self, size: tuple[int, int], cond: RawCondition | None) -> tuple[int, int]:
        """The sides of the picture divided by those of the context; (1, 1) without a context."""
        if any(side < w for side, w in zip(size, self.window, strict=True)):
            raise UsageError(f"a picture of {size[0]}x{size[1]} has no room for a window of {_by(self.window)}.")
        if cond is None or cond.context is None:
            return (1, 1)
        given = cond.context.shape[-2:]
        ratios = (size[0] // given[0], size[1] // given[1])
        for side, w, g, r in zip(size, self.window, given, ratios, strict=True):
            if r * g != side or w % r:
                raise UsageError(
                    f"a context of {given[0]}x{given[1]} cannot be cut into windows beside a picture of {_by(size)}:"
                    f" its sides have to divide the picture's, and their ratio those of the window, {_by(self.window)}."
                )
        return ratios


def starts(side: int, window: int, multiple: int = 1) -> list[int]:
    """The first pixels of the windows along a side.

    They are evenly spaced from 0 to side - window, about half a window apart.

    Args:
        side: length of the picture's side in pixels.
        window: length of the window's side in pixels.
        multiple: windows start at multiples of this number of pixels.

    Returns:
        The positions in pixels.
    """
    steps = math.ceil(2 * (side - window) / window)
    return [(side - window) * i // max(1, steps) // multiple * multiple for i in range(steps + 1)]


def _bell(n: int) -> Tensor:
    """(n,) float64 sin^2(pi (j + 1/2) / n)."""
    return torch.sin(math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n).square()


def _cut(x: Tensor, place: Place, window: tuple[int, int]) -> Tensor:
    """A view of the window of pictures (..., H, W) at `place`."""
    return x[..., place[0] : place[0] + window[0], place[1] : place[1] + window[1]]


def _repeated(
    cond: RawCondition, places: list[Place], n: int, window: tuple[int, int], ratios: tuple[int, int]
) -> RawCondition:
    """Repeat the conditions of `n` records for each place, with the part of the context at that place."""
    repeated = dataclasses.replace(cond, context=None)[torch.arange(n).repeat(len(places))]
    if cond.context is None:
        return repeated
    (a, b), inside = ratios, (window[0] // ratios[0], window[1] // ratios[1])
    parts = [_cut(cond.context, (row // a, column // b), inside) for row, column in places]
    return dataclasses.replace(repeated, context=torch.cat(parts))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
