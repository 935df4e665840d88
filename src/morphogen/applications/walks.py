r"""Closed walks through a model's noise: pictures that turn into each other and, at the end, into the first one.

A sample is a function of addressed normal noise. A walk gives frame f, at t in [0, 1) of its way from stop k to the
next, the noise

    z(f) = cos(pi t / 2) z_k + sin(pi t / 2) z_{k+1},   z_k the noise of sample k, and z_K = z_0 again,

a quarter of a great circle (Shoemake, "Animating rotation with quaternion curves", 1985; White, "Sampling generative
networks", 2016). As cos^2 + sin^2 = 1 and the stops are independent, z(f) is standard normal: every frame is as fair a
sample as any, where on a straight line the variance would fall to a half in the middle. The stops themselves are the
first K samples of that seed. So whatever a model does with normal noise, a latent in one step or a chain in a thousand,
it can walk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import Tensor

from morphogen.core.errors import CapabilityError, UsageError
from morphogen.core.rng import Index, Rng


class Walk(Rng):
    """The noise of a walk of `frames` through `stops` samples of `rng`: an index is a frame, and they recur.

    Raises `UsageError` for less than two stops or fewer frames than stops, `CapabilityError` to whoever draws anything
    but normal noise, since choices have nothing in between.
    """

    def __init__(self, rng: Rng, frames: int, stops: int) -> None:
        if stops < 2:
            raise UsageError(f"a walk needs at least 2 stops (got {stops}).")
        if frames < stops:
            raise UsageError(f"a walk through {stops} stops needs at least as many frames (got {frames}).")
        super().__init__(rng.seed, rng.device, rng.offset)
        self.frames, self.stops = frames, stops

    def shifted(self, offset: int) -> Walk:
        """The same walk, `offset` frames on."""
        return Walk(super().shifted(offset), self.frames, self.stops)

    def child(self, name: str) -> Walk:
        """The same walk through the noise of the child of this name."""
        return Walk(super().child(name), self.frames, self.stops)

    def normal(
        self, purpose: str, index: Index, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """z(f), standard normal; shape `(len(index), *shape)`."""
        way = (self._indices(index) % self.frames) * self.stops  # in whole numbers, so that stops are met exactly
        k = (way // self.frames).to(self.device)
        angle = (way % self.frames).to(self.device, torch.float64) * (math.pi / 2.0 / self.frames)
        ends = Rng(self.seed, self.device).normal(purpose, self.stops, shape, dtype)
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
