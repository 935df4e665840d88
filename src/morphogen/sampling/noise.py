r"""Noise derived from other noise: closed walks, and recurring noise.

A **walk** leads through the noise of a model, so that pictures turn into each other and, at the end, into the first
one.

A sample is a function of addressed normal noise. Frame f of a walk lies at t in [0, 1) between stop k and the next
stop. Its noise is

    z(f) = cos(pi t / 2) z_k + sin(pi t / 2) z_{k+1},   z_k the noise of sample k, and z_K = z_0 again,

a quarter of a great circle (Shoemake, "Animating rotation with quaternion curves", 1985; White, "Sampling generative
networks", 2016). As cos^2 + sin^2 = 1 and the stops are independent, z(f) is standard normal, so every frame is a fair
sample. On a straight line the variance would fall to a half in the middle. The stops are the first K samples of the
seed. This works for every use of normal noise: a latent in one step, or a chain of a thousand steps.

**Recurring** noise gives sample i the noise of sample i mod n, so that several conditions get the same noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NoReturn, final

import torch
from torch import Tensor

from morphogen.core.errors import CapabilityError, UsageError
from morphogen.core.rng import Index, Noise


class _Wrapped:
    """The common part of wrapped noise: it forwards calls, and it adds its own offset to indices."""

    def __init__(self, noise: Noise, offset: int = 0) -> None:
        self.noise, self._offset = noise, offset

    @property
    def seed(self) -> int:
        """The seed of the wrapped noise."""
        return self.noise.seed

    @property
    def device(self) -> torch.device:
        """The device of the wrapped noise."""
        return self.noise.device

    @property
    def offset(self) -> int:
        """The number that is added to every index."""
        return self._offset

    def permutation(self, purpose: str, index: int, n: int) -> Tensor:
        """The permutation of the wrapped noise."""
        return self.noise.permutation(purpose, index, n)

    def forked(self, step: int = 0) -> AbstractContextManager[None]:
        """The seeded global states of the wrapped noise."""
        return self.noise.forked(step)

    def _indices(self, index: Index) -> Tensor:
        at = torch.arange(index) if isinstance(index, int) else torch.as_tensor(index, dtype=torch.int64).reshape(-1)
        return at.cpu() + self.offset


@final
class Walk(_Wrapped):
    """The noise of a walk of `frames` through the first `stops` samples of `noise`: an index is a frame.

    Frames recur: frame `frames` is frame 0 again. Raises `UsageError` for less than two stops or fewer frames than
    stops. Raises `CapabilityError` if the model draws noise that is not normal: discrete choices have no path between
    them.
    """

    def __init__(self, noise: Noise, frames: int, stops: int, offset: int = 0) -> None:
        if stops < 2:
            raise UsageError(f"a walk needs at least 2 stops (got {stops}).")
        if frames < stops:
            raise UsageError(f"a walk through {stops} stops needs at least as many frames (got {frames}).")
        super().__init__(noise, offset)
        self.frames, self.stops = frames, stops

    def shifted(self, offset: int) -> Walk:
        """The same walk, `offset` frames later."""
        return Walk(self.noise, self.frames, self.stops, self.offset + offset)

    def child(self, name: str) -> Walk:
        """The same walk through the noise of the child called `name`."""
        return Walk(self.noise.child(name), self.frames, self.stops, self.offset)

    def normal(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """z(f), standard normal; shape `(len(index), *shape)`."""
        way = (self._indices(index) % self.frames) * self.stops  # integers, so that stops are met exactly
        k = (way // self.frames).to(self.device)
        angle = (way % self.frames).to(self.device, torch.float64) * (math.pi / 2.0 / self.frames)
        ends = self.noise.normal(purpose, self.stops, shape, dtype)
        cos, sin = (f(angle).to(dtype).view(-1, *(1 for _ in shape)) for f in (torch.cos, torch.sin))
        return cos * ends[k] + sin * ends[(k + 1) % self.stops]

    def uniform(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> NoReturn:
        """Raises `CapabilityError`."""
        raise CapabilityError(
            f"a walk leads through normal noise, but this model also draws uniform numbers ({purpose!r}), by which it"
            " chooses among things that have nothing in between: take one whose samples change continuously with"
            " their noise, as those of GANs, of VAEs with the standard prior and of diffusion models do."
        )

    def bits(self, purpose: str, index: Index, n: int) -> NoReturn:
        """Raises `CapabilityError`."""
        self.uniform(purpose, index)

    def integers(self, purpose: str, index: Index, high: int, shape: Sequence[int] = ()) -> NoReturn:
        """Raises `CapabilityError`."""
        self.uniform(purpose, index)


@final
class Recurring(_Wrapped):
    """The noise of the first `n` samples of `noise`, repeated without end."""

    def __init__(self, noise: Noise, n: int, offset: int = 0) -> None:
        super().__init__(noise, offset)
        self.n = n

    def shifted(self, offset: int) -> Recurring:
        """The same noise, `offset` samples later."""
        return Recurring(self.noise, self.n, self.offset + offset)

    def child(self, name: str) -> Recurring:
        """The recurring noise of the child called `name`."""
        return Recurring(self.noise.child(name), self.n, self.offset)

    def bits(self, purpose: str, index: Index, n: int) -> Tensor:
        """Words of the recurring samples; shape `(len(index), n)`."""
        return self.noise.bits(purpose, self._indices(index) % self.n, n)

    def uniform(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Uniform numbers of the recurring samples; shape `(len(index), *shape)`."""
        return self.noise.uniform(purpose, self._indices(index) % self.n, shape, dtype)

    def normal(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Normal numbers of the recurring samples; shape `(len(index), *shape)`."""
        return self.noise.normal(purpose, self._indices(index) % self.n, shape, dtype)

    def integers(self, purpose: str, index: Index, high: int, shape: Sequence[int] = ()) -> Tensor:
        """Integers of the recurring samples; shape `(len(index), *shape)`."""
        return self.noise.integers(purpose, self._indices(index) % self.n, high, shape)
