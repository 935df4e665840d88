"""The places of a network where the integer form rounds to its grid."""

from __future__ import annotations

from torch import Tensor, nn


class GridPoint(nn.Module):
    """The identity. In the integer form of a network it rounds to the grid (`nn/integer/grid.py`)."""

    def forward(self, x: Tensor) -> Tensor:
        return x
