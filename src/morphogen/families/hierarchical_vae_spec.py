"""Options of the hierarchical variational autoencoder (`families/hierarchical_vae.py`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from morphogen.nn.conditioning.conditioner import ConditionSpec
from morphogen.nn.layers.activation import Activation
from morphogen.theory.likelihoods import NAMES

AtLeastOne = Annotated[int, Field(ge=1)]
Groups = Annotated[int, Field(ge=0, le=1000)]


class HierarchicalVAESpec(ConditionSpec):
    """Options of the hierarchical variational autoencoder."""

    widths: tuple[AtLeastOne, ...] = Field(
        (32, 64, 64, 64), min_length=1, description="channels at 1/2, 1/4, ... resolution"
    )
    groups: tuple[Groups, ...] = Field((0, 3, 3, 3), description="groups of latents at each of these resolutions")
    latent_channels: tuple[AtLeastOne, ...] = Field(
        (1, 4, 8, 16), description="channels of a group of latents at each of these resolutions"
    )
    blocks: int = Field(1, ge=1, description="residual blocks of the encoder per resolution")
    activation: Activation = Field("silu", description="activation of the hidden layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the residual blocks")
    likelihood: str = Field("auto", description=f"p(x | z): auto (a mixture for quantized data), {', '.join(NAMES)}")
    mixtures: int = Field(10, ge=1, description="components of a mixture likelihood")
    beta: float = Field(1.0, ge=0, description="weight of the rate")
    free_bits: float = Field(0.0, ge=0, description="nats per group of latents that cost nothing")
    kl_warmup: float = Field(0.02, ge=0, le=1, description="fraction of training over which beta rises from 0")
    skip: float | None = Field(
        30.0,
        gt=1,
        description="updates whose gradient is that many times the usual one are skipped; none: NaN is an error",
    )
    integer: bool = Field(False, description="the integer form, which `morphogen quantize` makes of a trained model")
    lr: float = Field(2e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; none turns it off")

    @model_validator(mode="after")
    def _consistent(self) -> HierarchicalVAESpec:
        n = len(self.widths)
        if len(self.groups) != n or len(self.latent_channels) != n:
            raise ValueError(
                f"groups and latent_channels need a number for each of the {n} resolutions of widths (got"
                f" {len(self.groups)} and {len(self.latent_channels)})"
            )
        if not sum(self.groups):
            raise ValueError("at least one group of latents is needed")
        return self
