"""Linear measurements of pictures and their adjoints: <A x, y> = <x, A^T y>."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch.nn.functional as F
from torch import Tensor

from morphogen.core.errors import UsageError


class LinearOperator(ABC):
    """y = A x for records x (B, *shape)."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A x, (B, *measured shape)."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y, (B, *shape)."""


@final
@dataclass(frozen=True)
class Masking(LinearOperator):
    """Keeps the measured elements: `known` broadcasts to (B, *shape) and is 1 or true for these, else 0."""

    known: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self.known.to(x) * x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.forward(y)


@final
@dataclass(frozen=True)
class Downsampling(LinearOperator):
    """The mean of each `factor` x `factor` block of pictures (B, C, H, W)."""

    factor: int

    def forward(self, x: Tensor) -> Tensor:
        if self.factor < 1 or x.shape[-1] % self.factor or x.shape[-2] % self.factor:
            size = " x ".join(map(str, x.shape[-2:]))
            raise UsageError(f"pictures of {size} do not divide into blocks of side {self.factor}.")
        return F.avg_pool2d(x, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        return F.interpolate(y, scale_factor=self.factor, mode="nearest") / self.factor**2


@final
@dataclass(frozen=True)
class Blurring(LinearOperator):
    """Correlation of each channel of pictures (B, C, H, W) with `kernel` (k, k), k odd; zero beyond the edges."""

    kernel: Tensor

    def __post_init__(self) -> None:
        if self.kernel.ndim != 2 or not all(side % 2 for side in self.kernel.shape):
            raise UsageError(f"a blur needs a kernel of odd sides, not of shape {tuple(self.kernel.shape)}.")

    def forward(self, x: Tensor) -> Tensor:
        return self._correlated(x, self.kernel)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._correlated(y, self.kernel.flip(0, 1))

    def _correlated(self, x: Tensor, kernel: Tensor) -> Tensor:
        channels = x.shape[1]
        weight = kernel.to(x).expand(channels, 1, *kernel.shape)
        return F.conv2d(x, weight, padding=(kernel.shape[0] // 2, kernel.shape[1] // 2), groups=channels)
