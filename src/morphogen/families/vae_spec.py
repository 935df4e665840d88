"""Options of the variational autoencoder (`families/vae.py`)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from morphogen.core.spec import Width
from morphogen.nn.backbones.encoders import Backbone
from morphogen.nn.conditioning.conditioner import ConditionSpec
from morphogen.nn.layers.activation import Activation
from morphogen.nn.sequences import GRAMMAR, Grammar
from morphogen.theory.likelihoods import NAMES


class VAESpec(ConditionSpec):
    """Options of the variational autoencoder."""

    backbone: Backbone = Field("auto", description="network: mlp, conv, or auto (conv for pictures of 12 px and more)")
    latent_dim: int = Field(16, ge=1, description="dimensions of z")
    hidden: tuple[Width, ...] = Field((512, 256), description="mlp: encoder layers; the decoder mirrors them")
    gated: bool = Field(False, description="mlp: gated linear units instead of the activation")
    widths: tuple[Width, ...] = Field((32, 64), min_length=1, description="conv: channels at 1/2, 1/4, ... resolution")
    blocks: int = Field(2, ge=0, description="conv: residual blocks per resolution")
    norm: bool = Field(True, description="conv: group normalization")
    activation: Activation = Field("silu", description="activation of the hidden layers")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the hidden layers")
    text_width: int = Field(192, ge=2, description="texts: width of both transformers")
    text_blocks: int = Field(3, ge=1, description="texts: blocks of each transformer")
    grammar: Grammar = Field("valence", description=GRAMMAR)
    likelihood: str = Field("auto", description=f"p(x | z): auto (one that fits the data), {', '.join(NAMES)}")
    mixtures: int = Field(5, ge=1, description="components of a mixture likelihood")
    variance: float = Field(2.0, gt=0, description="variance of the likelihood 'gaussian', for x in [-1, 1]")
    bounded: bool = Field(
        False, description="gaussian: a tanh keeps the mean within [-1, 1], so that flat black and white are exact"
    )
    prior: Literal["standard", "vamp", "flow"] = Field(
        "standard", description="p(z): standard normal, VampPrior, or affine-coupling flow"
    )
    pseudo_inputs: int = Field(500, ge=1, description="vamp: number of pseudo-inputs")
    beta: float = Field(1.0, ge=0, description="weight of the rate")
    free_bits: float = Field(0.0, ge=0, description="nats per latent dimension that cost nothing")
    kl_warmup: float = Field(0.0, ge=0, le=1, description="fraction of training over which beta rises from 0")
    importance_samples: int = Field(1, ge=1, le=10_000, description="K of the training bound; 1 is the ELBO")
    integer: bool = Field(False, description="the integer form, which `morphogen quantize` makes of a trained model")
    output: Literal["auto", "mean", "sample"] = Field(
        "auto", description="what sampling returns: E[x | z] (auto for pictures) or a draw of p(x | z)"
    )
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; none turns it off")

    @model_validator(mode="after")
    def _consistent(self) -> VAESpec:
        if self.free_bits and (self.importance_samples > 1 or self.prior != "standard"):
            raise ValueError("free_bits needs the KL per dimension: use prior=standard and importance_samples=1")
        if self.prior == "flow" and self.latent_dim < 2:
            raise ValueError("prior=flow couples dimensions: latent_dim is at least 2")
        return self
