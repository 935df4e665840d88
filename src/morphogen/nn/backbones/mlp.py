"""Multilayer perceptrons between records and vectors, with an optional condition vector.

The condition enters every hidden layer additively, h = act(W h + U c + b), so that a network
without one is the plain perceptron.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from morphogen.nn.layers.activation import Activation, activation


class MLP(nn.Module):
    """(..., n_in) -> (..., n_out) through `hidden` layers; condition (..., cond) if cond > 0.

    gated: h = (W h) sigmoid(G h), a gated linear unit (Dauphin et al., 2017), in place of an activation.
    """

    def __init__(
        self,
        n_in: int,
        hidden: Sequence[int],
        n_out: int,
        *,
        cond: int = 0,
        act: Activation = "relu",
        gated: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = [n_in, *hidden]
        self.gated = gated
        self.layers = nn.ModuleList(nn.Linear(a, b * (1 + gated)) for a, b in itertools.pairwise(sizes))
        self.conditions = nn.ModuleList(nn.Linear(cond, b * (1 + gated), bias=False) for b in hidden if cond)
        self.out = nn.Linear(sizes[-1], n_out)
        self.act = activation(act)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if c is not None and len(self.conditions):
                x = x + self.conditions[i](c)
            if self.gated:
                value, gate = x.chunk(2, dim=-1)
                x = value * gate.sigmoid()
            else:
                x = self.act(x)
            x = self.dropout(x)
        return self.out(x)


class MLPEncoder(nn.Module):
    """Records (B, *shape) -> (B, n_out)."""

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], n_out: int, **options: object) -> None:
        super().__init__()
        self.mlp = MLP(math.prod(shape), hidden, n_out, **options)  # type: ignore[arg-type]

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.mlp(x.flatten(1), c)


class MLPDecoder(nn.Module):
    """Vectors (B, n_in) -> (B, parameters, *shape)."""

    def __init__(
        self, n_in: int, hidden: Sequence[int], shape: Sequence[int], parameters: int = 1, **options: object
    ) -> None:
        super().__init__()
        self.shape = (parameters, *shape)
        self.mlp = MLP(n_in, hidden, math.prod(self.shape), **options)  # type: ignore[arg-type]

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        return torch.unflatten(self.mlp(z, c), -1, self.shape)
