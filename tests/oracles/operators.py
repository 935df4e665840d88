"""Linear measurements of pictures that no function of the package needs, to test those that take any."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from morphogen.sampling.operators import LinearOperator


@dataclass(frozen=True)
class Downsampling(LinearOperator):
    """The mean of each `factor` x `factor` block of pictures (B, C, H, W)."""

    factor: int

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.factor)

    def adjoint(self, y: Tensor) -> Tensor:
        return F.interpolate(y, scale_factor=self.factor, mode="nearest") / self.factor**2


@dataclass(frozen=True)
class Blurring(LinearOperator):
    """Correlation of each channel of pictures (B, C, H, W) with `kernel` (k, k), k odd; zero beyond the edges."""

    kernel: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self._correlated(x, self.kernel)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._correlated(y, self.kernel.flip(0, 1))

    def _correlated(self, x: Tensor, kernel: Tensor) -> Tensor:
        channels = x.shape[1]
        weight = kernel.to(x).expand(channels, 1, *kernel.shape)
        return F.conv2d(x, weight, padding=(kernel.shape[0] // 2, kernel.shape[1] // 2), groups=channels)
