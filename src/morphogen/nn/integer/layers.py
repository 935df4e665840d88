"""Layers of integer weights: the same bits on every machine, by `grid.py`. They are made of trained ones.

Each holds int16 weights, an exponent a row and an int64 bias, and multiplies by `matmul` in float64: convolutions as
products with unfolded windows. `plain` is the same layer in Python's integers, to check the other one by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import mul

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.integer.grid import FRACTION, LARGEST, LIMIT, UNIT, integer_rows, require_exact, to_grid


class IntegerRows(nn.Module):
    """Windows (..., n_in) on the grid -> (..., n_out) on the grid: round(W a + b), W = j 2^-e by rows."""

    weight: Tensor
    exponent: Tensor
    bias: Tensor

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(n_out, n_in, dtype=torch.int16))
        self.register_buffer("exponent", torch.zeros(n_out, dtype=torch.int8))
        self.register_buffer("bias", torch.zeros(n_out, dtype=torch.int64))
        self._prepared: tuple[Tensor, Tensor] | None = None

    def set(self, weight: Tensor, bias: Tensor | None, bits: int) -> None:
        """Take real weights (n_out, n_in) and biases (n_out,), rounded to `bits` bits."""
        j, exponent = integer_rows(weight, bits)
        self.weight.copy_(j)
        self.exponent.copy_(exponent)
        if bias is not None:
            self.bias.copy_((bias.double() * 2.0 ** (FRACTION + exponent.double())).round().long())
        self._prepared = None

    def prove(self, what: str) -> int:
        """The largest sum that can occur, in integer units. Raises `ArtifactError` where it is not below 2^53."""
        return require_exact(what, self.weight, self.exponent, self.bias)

    def forward(self, a: Tensor) -> Tensor:
        if self._prepared is None:
            self._prepared = self.prepared(self.weight)
        return self.applied(a, *self._prepared)

    def prepared(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The matrix and the bias that `applied` takes, for integer weights in another order or with zeros between."""
        step = 2.0 ** -self.exponent.double()
        return (weight.double() * step[:, None]).T.contiguous(), self.bias.double() * step * UNIT + 0.5 * UNIT

    @staticmethod
    def applied(a: Tensor, matrix: Tensor, bias: Tensor) -> Tensor:
        """floor((a matrix + bias) 2^F) 2^-F; the bias holds the half step that rounds."""
        y = torch.matmul(a, matrix)
        return y.add_(bias).mul_(1.0 / UNIT).floor_().mul_(UNIT).clamp_(-LIMIT, LIMIT)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> IntegerRows:
        self._prepared = None  # the tensors move or change
        return super()._apply(fn, recurse)

    def plain(self, a: Sequence[int]) -> list[int]:
        """The same in Python's integers, for one window and its output in grid steps."""
        out = []
        for row, e, b in zip(self.weight.tolist(), self.exponent.tolist(), self.bias.tolist(), strict=True):
            total = sum(map(mul, row, a)) + b
            rounded = (2 * total + (1 << e)) // (2 << e)  # floor(total / 2^e + 1/2)
            out.append(max(-LARGEST, min(LARGEST, rounded)))
        return out


class IntegerLinear(nn.Module):
    """nn.Linear on the grid."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.in_features, self.out_features = n_in, n_out
        self.rows = IntegerRows(n_in, n_out)

    @classmethod
    def of(cls, layer: nn.Linear, bits: int) -> IntegerLinear:
        """The integer form of a layer."""
        made = cls(layer.in_features, layer.out_features)
        made.rows.set(layer.weight, layer.bias, bits)
        return made

    def forward(self, a: Tensor) -> Tensor:
        return self.rows(a)


class IntegerEmbedding(nn.Module):
    """nn.Embedding with its vectors on the grid."""

    table: Tensor

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(n, width, dtype=torch.int32))

    @classmethod
    def of(cls, layer: nn.Embedding) -> IntegerEmbedding:
        """The integer form of a layer."""
        made = cls(*layer.weight.shape)
        made.table.copy_((layer.weight.double() / UNIT).round().clamp(-LARGEST, LARGEST))
        return made

    def forward(self, k: Tensor) -> Tensor:
        return self.table[k].double() * UNIT


class IntegerConv2d(nn.Module):
    """nn.Conv2d, zeros outside, on the grid: (B, n_in, H, W) -> (B, n_out, H', W'), by unfolded windows."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.rows = IntegerRows(n_in * kernel * kernel, n_out)

    @classmethod
    def of(cls, layer: nn.Conv2d, bits: int) -> IntegerConv2d:
        """The integer form of a layer."""
        made = cls(layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0], int(layer.padding[0]))
        made.rows.set(layer.weight.flatten(1), layer.bias, bits)
        return made

    @classmethod
    def of_matrix(cls, matrix: Tensor, bits: int) -> IntegerConv2d:
        """The product with a matrix (n_out, n_in) at each place."""
        made = cls(matrix.shape[1], matrix.shape[0], 1, 1, 0)
        made.rows.set(matrix, None, bits)
        return made

    def forward(self, a: Tensor) -> Tensor:
        p, k, s = self.padding, self.kernel, self.stride
        a = F.pad(a, (p, p, p, p)) if p else a
        windows = a.unfold(2, k, s).unfold(3, k, s)  # (B, n_in, H', W', k, k)
        return self.rows(windows.permute(0, 2, 3, 1, 4, 5).flatten(3)).permute(0, 3, 1, 2)


class GridRounding(nn.Module):
    """The nearest numbers on the grid, where a network multiplies or divides by something else than its weights."""

    def forward(self, x: Tensor) -> Tensor:
        return to_grid(x)
