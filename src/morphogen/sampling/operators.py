"""Linear measurements of pictures and their adjoints: <A x, y> = <x, A^T y>."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

from torch import Tensor


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
