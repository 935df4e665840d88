"""Causal convolutions (`nn/backbones/causal.py`) on the grid."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphogen.nn.backbones.causal import CausalConv
from morphogen.nn.integer.layers import IntegerRows


class IntegerCausalConv(nn.Module):
    """(B, H, W, n_in) -> (B, H, W, n_out) on the grid; the weights are those of the pixels that the window sees."""

    def __init__(self, n_in: int, n_out: int, up: int, side: int, here: int) -> None:
        super().__init__()
        self.n_in, self.up, self.side, self.here = n_in, up, side, here
        self.rows = IntegerRows((up * (2 * side + 1) + here) * n_in, n_out)

    @classmethod
    def of(cls, layer: CausalConv, bits: int) -> IntegerCausalConv:
        """The integer form of a layer."""
        made = cls(layer.n_in, len(layer.weight), layer.up, layer.side, layer.here)
        made.rows.set(layer.visible(), layer.bias, bits)
        return made

    def forward(self, a: Tensor) -> Tensor:
        a = F.pad(a, (0, 0, self.side, self.side, self.up, 0))
        windows = a.unfold(1, self.up + 1, 1).unfold(2, 2 * self.side + 1, 1)  # (B, H, W, n_in, up + 1, 2 side + 1)
        windows = windows.permute(0, 1, 2, 4, 5, 3)
        above, here = windows[:, :, :, :-1].flatten(3), windows[:, :, :, -1, : self.here].flatten(3)
        return self.rows(torch.cat((above, here), dim=-1))

    def of_windows(self) -> Callable[[Tensor], Tensor]:
        """The map of flattened windows (2 side + 1, up + 1, n_in), zeros where nothing is seen, to outputs."""
        n_out, wide = len(self.rows.weight), 2 * self.side + 1
        weight = self.rows.weight.new_zeros(n_out, self.up + 1, wide, self.n_in)
        above, here = self.rows.weight.split((self.up * wide * self.n_in, self.here * self.n_in), dim=1)
        weight[:, :-1] = above.unflatten(1, (self.up, wide, self.n_in))
        weight[:, -1, : self.here] = here.unflatten(1, (self.here, self.n_in))
        matrix, bias = self.rows.prepared(weight.transpose(1, 2).flatten(1))
        return lambda windows: self.rows.applied(windows, matrix, bias)
