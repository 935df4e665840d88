"""The network of a diffusion or flow model, chosen by the kind of data: U-Net, transformer or perceptron.

All have one signature, `forward(x_t, u, condition) -> (B, out_channels, ...)`. `x_t` (B, C, ...) is a noisy record. u
(B,) is its noise level, as the log signal-to-noise ratio or a time. out_channels may exceed C, for example for a
variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from morphogen.core.batch import Condition
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.spec import Spec
from morphogen.nn.backbones.dit import DiT
from morphogen.nn.backbones.mlp import MLP
from morphogen.nn.backbones.unet import UNet
from morphogen.nn.conditioning.time_embedding import TimeEmbedding
from morphogen.nn.layers.initialization import zeroed

_SMALLEST = 8  # from so many pixels per side on, convolutions are used


class DenoiserSpec(Spec):
    """Options of the network; a family's options extend them."""

    backbone: Literal["auto", "unet", "dit", "mlp"] = Field(
        "auto", description="network: unet, dit, mlp, or auto (unet for pictures of 8 px and more, else mlp)"
    )
    widths: tuple[int, ...] = Field(
        (32, 64, 128), min_length=1, description="unet: channels at full, 1/2, 1/4, ... resolution"
    )
    blocks: tuple[int, ...] = Field(
        (2, 2, 4), min_length=1, description="unet: residual blocks per resolution; a single number holds for all"
    )
    attention: int = Field(1, ge=0, description="unet: how many of the lowest resolutions have attention")
    fold: int = Field(1, ge=1, description="unet: fold pictures by this factor into channels first")
    patch: int = Field(2, ge=1, description="dit: side of a patch in pixels")
    width: int = Field(256, ge=4, multiple_of=4, description="dit: channels of a place")
    depth: int = Field(8, ge=1, description="dit: number of blocks")
    hidden: tuple[int, ...] = Field((256, 256, 256), min_length=1, description="mlp: its layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the hidden layers")

    @model_validator(mode="after")
    def _a_number_of_blocks_per_width(self) -> DenoiserSpec:
        if len(self.blocks) not in (1, len(self.widths)):
            raise ValueError(f"blocks {self.blocks} do not match widths {self.widths}: give one number, or one a width")
        return self


class MLPDenoiser(nn.Module):
    """Records (B, *shape), u (B,), condition -> (B, out_channels, *shape[1:]); starts as zero.

    With `skip` = W the first W outputs also get the first W inputs, each times a factor that u and the condition give.
    A velocity holds the noise of every element, and layers that are narrower than a record could not let it through.
    """

    def __init__(
        self,
        shape: Sequence[int],
        out_channels: int,
        *,
        hidden: Sequence[int] = (256, 256, 256),
        dropout: float = 0.0,
        cond: int = 0,
        inputs: int = 1,
        skip: int = 0,
    ) -> None:
        super().__init__()
        self.shape = (out_channels, *shape[1:])
        self.embedding = TimeEmbedding(hidden[0], cond=cond, inputs=inputs)
        self.mlp = MLP(math.prod(shape), hidden, math.prod(self.shape), cond=hidden[0], act="silu", dropout=dropout)
        zeroed(self.mlp.out)
        self.factors = zeroed(nn.Linear(hidden[0], skip)) if skip else None

    def forward(self, x_t: Tensor, u: Tensor, condition: Condition | None = None) -> Tensor:
        flat, level = x_t.flatten(1), self.embedding(u, condition)
        y = self.mlp(flat, level)
        if self.factors is not None:
            factors = self.factors(level)
            n = factors.shape[1]
            y = torch.cat((y[:, :n] + factors * flat[:, :n], y[:, n:]), 1)
        return y.unflatten(-1, self.shape).to(x_t.dtype)


def denoiser(
    spec: DenoiserSpec, data: DataSpec, out_channels: int, cond_dim: int = 0, inputs: int = 1, skip: int = 0
) -> nn.Module:
    """The network for records of `data`, whose first dimension counts channels.

    out_channels  first dimension of the output
    cond_dim      width D of the condition's tokens and pooled vector; 0: the network takes no condition
    inputs        numbers u per record
    skip          of the perceptron: see `MLPDenoiser`
    Raises `SpecError` if the backbone does not suit the data.
    """
    picture = len(data.shape) == 3
    name = spec.backbone
    if name == "auto":
        name = "unet" if picture and min(data.shape[1:]) >= _SMALLEST else "mlp"
    context = 0 if data.context_shape is None else data.context_shape[0]
    if name == "mlp":
        if context:
            raise SpecError("backbone 'mlp' takes no picture as a condition: use backbone 'unet' or 'dit'.")
        options: dict[str, Any] = {"cond": cond_dim, "inputs": inputs, "skip": skip}
        return MLPDenoiser(data.shape, out_channels, hidden=spec.hidden, dropout=spec.dropout, **options)
    if not picture:
        raise SpecError(
            f"backbone {name!r} needs pictures (C, H, W), but {data.name!r} has records of shape {data.shape};"
            " use backbone 'mlp'."
        )
    # One token has no more information than the pooled vector.
    tokens = cond_dim > 0 and (data.text is not None or bool(data.classes) + len(data.attributes) > 1)
    given: dict[str, Any] = {
        "dropout": spec.dropout,
        "cond": cond_dim,
        "tokens": tokens,
        "context": context,
        "inputs": inputs,
    }
    if name == "dit":
        return DiT(data.shape[0], out_channels, patch=spec.patch, width=spec.width, depth=spec.depth, **given)
    blocks = spec.blocks * len(spec.widths) if len(spec.blocks) == 1 else spec.blocks
    return UNet(
        data.shape[0],
        out_channels,
        widths=spec.widths,
        blocks=blocks,
        attention=spec.attention,
        fold=spec.fold,
        **given,
    )
