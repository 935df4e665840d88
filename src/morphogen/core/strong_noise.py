r"""Random numbers that nobody can guess, for noise that protects records.

`Rng` is a function of a seed, which an artifact tells. Whoever knows the noise can take it off again, so the noise of a
private training, and the choice of the records of each step, come from the operating system's generator. Normals are
made from 53-bit uniforms by Box and Muller,

    z = sqrt(-2 log u) cos(2 pi v).

A result of floating point can tell more than the real number that it stands for (Mironov, 2012). So a noisy sum is
rounded to multiples of 2^-20 of the noise's deviation, which hides how the noise was rounded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

_GRID = 2.0**-20


class NoiseSource(Protocol):
    """Independent random numbers, new ones with each call."""

    def uniform(self, n: int) -> Tensor:
        """(n,) float64 in (0, 1)."""

    def normal(self, n: int) -> Tensor:
        """(n,) float64, standard normal."""


class _Bytes:
    """Numbers from random bytes."""

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        self._draw = draw

    def uniform(self, n: int) -> Tensor:
        """(n,) float64 in (0, 1), of 53 random bits each."""
        words = np.frombuffer(self._draw(8 * n), dtype="<u8") >> np.uint64(11)
        return torch.from_numpy((words.astype(np.float64) + 0.5) * 2.0**-53)

    def normal(self, n: int) -> Tensor:
        """(n,) float64, standard normal."""
        half = (n + 1) // 2
        u, v = self.uniform(2 * half).view(2, half)
        radius, angle = torch.sqrt(-2.0 * torch.log(u)), 2.0 * math.pi * v
        return torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)))[:n]


@final
class StrongSource(_Bytes):
    """The operating system's generator, which nobody can predict."""

    def __init__(self) -> None:
        super().__init__(os.urandom)


@final
class SeededSource(_Bytes):
    """Numbers that can be drawn again, for tests. They protect nothing.

    `session` counts the sessions of a run, so that one that goes on never draws the same numbers again.
    """

    def __init__(self, seed: int, session: int = 0) -> None:
        super().__init__(np.random.Generator(np.random.Philox(key=(seed % 2**64) + (session << 64))).bytes)


def noisy(value: Tensor, deviation: float, source: NoiseSource) -> Tensor:
    """`value` plus normal noise of standard deviation `deviation`, in float64, on a grid of 2^-20 deviations."""
    if deviation == 0.0:
        return value.double()
    step = deviation * _GRID
    sum_ = value.double().cpu() + deviation * source.normal(value.numel()).view(value.shape)
    return (torch.round(sum_ / step) * step).to(value.device)
