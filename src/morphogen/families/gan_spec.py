"""Options of the generative adversarial network, and the check of data and options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.nn.backbones.encoders import Backbone, backbone
from morphogen.nn.conditioning.conditioner import ConditionSpec

AtLeastOne = Annotated[int, Field(ge=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class GANSpec(ConditionSpec):
    """Options of the generative adversarial network."""

    game: Literal["relativistic", "non_saturating", "hinge", "least_squares", "wasserstein", "minimax"] = Field(
        "relativistic", description="losses of the two players: see theory/adversarial.py"
    )
    penalty: Literal["auto", "none", "r1", "r1_r2", "gradient"] = Field(
        "auto",
        description="of the discriminator's slope: r1 (at records), r1_r2 (at samples, too), gradient (distance from 1"
        " in between), none; auto is gradient for wasserstein, else r1_r2",
    )
    penalty_weight: float | None = Field(
        None,
        gt=0,
        description="weight of the penalty; none: 0.001 for each element of a record and at least 0.02, or 10 for"
        " gradient",
    )
    penalty_every: int = Field(1, ge=1, description="penalize every so many steps, with a weight as many times larger")
    mismatch: float = Field(
        1.0,
        ge=0,
        description="captions: weight of records with the words of others, which the discriminator is to tell apart",
    )
    reconstruction: float = Field(
        0.0, ge=0, description="weight of the mean absolute error, for data with a picture as condition"
    )
    backbone: Backbone = Field("auto", description="networks: mlp, conv, or auto (conv for pictures of 12 px and more)")
    latent_dim: int | None = Field(
        None, ge=1, description="dimensions of z; none: one for each element of a record, at most 64"
    )
    hidden: tuple[AtLeastOne, ...] = Field((256,) * 5, min_length=1, description="mlp: the generator's layers")
    discriminator_hidden: tuple[AtLeastOne, ...] = Field(
        (256, 256, 256), min_length=1, description="mlp: the discriminator's layers"
    )
    widths: tuple[AtLeastOne, ...] = Field(
        (32, 64, 128), min_length=1, description="conv: channels at 1/2, 1/4, ... resolution, of both"
    )
    blocks: int = Field(1, ge=1, description="conv: residual blocks per resolution, of both")
    tanh: bool = Field(
        False, description="bound what the generator makes by tanh; otherwise, samples are cut off at the data's range"
    )
    spectral: bool = Field(False, description="spectral normalization of the discriminator")
    augment: Literal["none", "fixed", "adaptive"] = Field(
        "none", description="random transforms of the pictures that the discriminator sees, for small data"
    )
    augment_strength: float = Field(0.5, ge=0, le=1, description="fixed: probability of each transform")
    augment_target: float = Field(
        0.6, gt=0, lt=1, description="adaptive: mean sign of the verdicts on records that the strength is to keep"
    )
    augment_records: int = Field(
        100_000, ge=1, description="adaptive: records over which the strength can rise from 0 to 1"
    )
    generator_lr: float = Field(1e-3, gt=0, description="peak learning rate of the generator")
    discriminator_lr: float = Field(1e-3, gt=0, description="peak learning rate of the discriminator")
    betas: tuple[Probability, Probability] = Field(
        (0.0, 0.99), description="decays of Adam's averages of the gradient and of its square, of both"
    )
    ema: float | None = Field(
        0.999, gt=0, lt=1, description="decay of the generator's averaged weights; none turns it off"
    )
    inversion_steps: int = Field(200, ge=1, description="steps of the descent that encodes a record")
    inversion_starts: int = Field(4, ge=1, description="latents that it starts from; a quarter of the steps rules out")

    @model_validator(mode="after")
    def _consistent(self) -> GANSpec:
        if self.game == "wasserstein" and self.penalty == "none" and not self.spectral:
            raise ValueError("game=wasserstein needs a bound on the slope: penalty=gradient, or spectral")
        return self


def check_data(spec: GANSpec, data: DataSpec) -> None:
    """Raise `SpecError` for data or options that do not fit together."""
    if data.kind not in ("continuous", "binary", "columns"):
        raise SpecError(
            f"a GAN needs continuous or binary records or a table, through which gradients pass to its generator, but"
            f" {data.name!r} has {data.kind} ones: give --part autoencoder=MODEL, or take autoregressive or vae."
        )
    if data.context_shape is not None and backbone(spec.backbone, data) == "mlp":
        raise SpecError("backbone 'mlp' takes no picture as a condition: use backbone 'conv'.")
    if data.context_shape is None and spec.reconstruction:
        raise SpecError(
            f"reconstruction compares a sample with the record that its picture was made from, but {data.name!r} has"
            " no pictures as conditions: set reconstruction=0."
        )
    if spec.augment != "none" and (not data.is_picture or data.context_shape is not None):
        raise SpecError(
            f"augment transforms whole pictures (C, H, W) that stand for themselves; records of {data.name!r} have"
            f" shape {data.shape}{' and a picture each as condition' if data.context_shape else ''}: set augment=none."
        )
