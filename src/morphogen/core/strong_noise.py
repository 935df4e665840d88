r"""Random numbers that nobody can guess, for noise that protects records.

`Rng` is a function of a seed, which an artifact tells. Whoever knows the noise can take it off again, so the noise of a
private training, and the choice of the records of each step, come from the operating system's generator: its bytes, or
faster those of AES-256 in counter mode with a new key from it for each draw, where the package cryptography is there
(NIST SP 800-90A makes its generator of the same cipher). Normals are made from 53-bit uniforms by Box and Muller,

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
        if not n:
            return torch.zeros(0, dtype=torch.float64)
        words = torch.frombuffer(bytearray(self._draw(8 * n)), dtype=torch.int64)
        bits = words.bitwise_right_shift_(11).bitwise_and_((1 << 53) - 1)
        return bits.double().add_(0.5).mul_(2.0**-53)

    def normal(self, n: int) -> Tensor:
        """(n,) float64, standard normal."""
        half = (n + 1) // 2
        u, v = self.uniform(2 * half).view(2, half)
        radius, angle = u.log_().mul_(-2.0).sqrt_(), v.mul_(2.0 * math.pi)
        return torch.cat((torch.cos(angle).mul_(radius), torch.sin(angle).mul_(radius)))[:n]


@final
class StrongSource(_Bytes):
    """The operating system's generator, which nobody can predict."""

    def __init__(self) -> None:
        super().__init__(_keystream())


def _keystream() -> Callable[[int], bytes]:
    """What gives so many unpredictable bytes."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError:
        return os.urandom

    def draw(n: int) -> bytes:
        cipher = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(os.urandom(16)))
        return cipher.encryptor().update(bytes(n))

    return draw


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
    sum_ = source.normal(value.numel()).mul_(deviation).view(value.shape).add_(value.double().cpu())
    return sum_.div_(step).round_().mul_(step).to(value.device)
