"""The exponential moving average of the weights. The average serves as the model.

    m <- m + (1 - d_t) (w - m),   d_t = min(d, (1 + t) / (10 + t))

The warm-up of d_t (as in TensorFlow's `ExponentialMovingAverage`) forgets the random start.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


class Ema:
    """The average of `parameters`, in the same order."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.decay = decay
        self.parameters = [p.detach() for p in parameters]
        self.averages = [p.clone() for p in self.parameters]

    @torch.no_grad()
    def update(self, t: int) -> None:
        """Move the average towards the weights after update `t` (from 0)."""
        torch._foreach_lerp_(self.averages, self.parameters, 1.0 - min(self.decay, (1.0 + t) / (10.0 + t)))

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Within the block, the parameters hold the averages."""
        kept = [p.clone() for p in self.parameters]
        self._put(self.averages)
        try:
            yield
        finally:
            self._put(kept)

    def _put(self, values: Sequence[Tensor]) -> None:
        for p, value in zip(self.parameters, values, strict=True):
            p.copy_(value)
