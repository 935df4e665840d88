"""Activations by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

Activation = Literal["relu", "gelu", "silu", "tanh"]

_BY_NAME: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


def activation(name: Activation) -> nn.Module:
    """A new module for the activation called `name`."""
    return _BY_NAME[name]()
