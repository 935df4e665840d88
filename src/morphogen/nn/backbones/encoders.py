"""Choose a network by the kind of data."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.nn.columns import read_columns

Backbone = Literal["auto", "mlp", "conv"]
SMALLEST_PICTURE = 12  # pixels of a side from which convolutions pay


def backbone(name: Backbone, data: DataSpec) -> Literal["mlp", "conv"]:
    """The backbone to use: "auto" is convolutional for pictures of 12 pixels and more, else a perceptron."""
    if name == "auto":
        return "conv" if data.is_picture and min(data.shape[1:]) >= SMALLEST_PICTURE else "mlp"
    if name == "conv" and not data.is_picture:
        raise SpecError(
            f"backbone 'conv' needs pictures (C, H, W), but {data.name!r} has records of shape {data.shape};"
            " use backbone 'mlp'."
        )
    return name


def centered(x: Tensor, data: DataSpec) -> Tensor:
    """Turn x into a network's input: on about [-1, 1]; numbers of a table have unit deviation, and texts stay ids."""
    if data.table is not None:
        return read_columns(x, data.table)
    if data.kind == "continuous" or data.sequence is not None:
        return x
    return (x if x.is_floating_point() else x.float()) * (2.0 / data.high) - 1.0
