"""Smooth functions by integer tables: the logistic function, the normal distribution function, exp, and activations.

Between two entries of a table runs a straight line. Every operation on the way is a single + - x or floor in float64,
and so the same bits everywhere. The tables are stored with the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from morphogen.nn.integer.grid import to_grid

ONE = 2**26  # what the value 1 is in a table of probabilities


class Table(nn.Module):
    """A function on [-reach, reach] at steps of 2^-`fine`, as integers in units of 1 / ONE; its ends go on beyond."""

    entries: Tensor

    def __init__(self, function: Callable[[float], float], reach: int, fine: int) -> None:
        super().__init__()
        self.reach, self.step = reach, 2.0**-fine
        places = (i * self.step - reach for i in range((2 * reach << fine) + 1))
        self.register_buffer("entries", torch.tensor([round(ONE * function(x)) for x in places], dtype=torch.int32))

    def integers(self, x: Tensor) -> Tensor:
        """The value in units of 1 / ONE, rounded down, as float64; monotone where the table is."""
        at = ((x + self.reach) / self.step).clamp(0.0, float(len(self.entries) - 1))
        cell = at.floor().clamp_max(float(len(self.entries) - 2))
        low, high = self.entries[cell.long()].double(), self.entries[cell.long() + 1].double()
        return low + ((at - cell) * (high - low)).floor()

    def forward(self, x: Tensor) -> Tensor:
        return self.integers(x) * (1.0 / ONE)


class Smooth(nn.Module):
    """The logistic function and the standard normal distribution function."""

    def __init__(self) -> None:
        super().__init__()
        self.logistic = Table(lambda x: 1.0 / (1.0 + math.exp(-x)), 18, 8)
        self.normal = Table(lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)), 8, 8)


class IntegerActivation(nn.Module):
    """SiLU, GELU or tanh on the grid, by a table: x sigmoid(x), x Phi(x), or 2 sigmoid(2 x) - 1.

    The table is another's, which stores it once for all.
    """

    def __init__(self, name: str, smooth: Smooth) -> None:
        super().__init__()
        self.name, self._smooth = name, (smooth,)  # in a tuple: it is no submodule of this

    def forward(self, x: Tensor) -> Tensor:
        smooth = self._smooth[0]
        if self.name == "tanh":
            return to_grid(2.0 * smooth.logistic(2.0 * x) - 1.0)
        return to_grid(x * (smooth.normal if self.name == "gelu" else smooth.logistic)(x))


class ExpTable(nn.Module):
    """exp(x) for x in [-16, 16] on steps of 2^-12: the product of two entries, which are integers times 2^-30."""

    whole: Tensor
    part: Tensor

    def __init__(self) -> None:
        super().__init__()
        one = 2.0**30
        self.register_buffer("whole", torch.tensor([round(one * math.exp(i / 64)) for i in range(-1024, 1025)]))
        self.register_buffer("part", torch.tensor([round(one * math.exp(j / 4096)) for j in range(64)]))

    def forward(self, x: Tensor) -> Tensor:
        steps = (x * 4096.0 + 0.5).floor().clamp(-65536.0, 65536.0).long()
        scale = 2.0**-30
        return (self.whole[(steps >> 6) + 1024].double() * scale) * (self.part[steps & 63].double() * scale)
