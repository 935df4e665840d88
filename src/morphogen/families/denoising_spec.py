"""Options that diffusion and flow matching share (`families/denoising.py`)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from morphogen.nn.backbones.denoiser import DenoiserSpec
from morphogen.nn.conditioning.conditioner import ConditionSpec
from morphogen.sampling import grids, steppers


class DenoisingSpec(DenoiserSpec, ConditionSpec):
    """Options that diffusion and flow matching share."""

    shift: float = Field(
        1.0, gt=0, description="factor of the noise-to-signal ratio at every t: about side / 64 for large pictures"
    )
    fourier: tuple[Annotated[int, Field(ge=-16, le=64)], ...] = Field(
        (), description="also show the network sin and cos of 2^k pi x_t for these k: 2,4,6,8 helps likelihoods"
    )
    context_dropout: float = Field(
        0.0, ge=0, le=1, description="share of records trained without their picture, so that it also draws without one"
    )
    stepper: str = Field("unipc-angle", description=f"sampling: {', '.join(steppers.STEPPERS)}")
    steps: int = Field(50, ge=1, le=100_000, description="sampling: steps from noise to record")
    grid: str = Field(
        grids.AUTO,
        description=f"sampling: the times of the steps, {', '.join(grids.GRIDS)}; auto is what suits the stepper",
    )
    guidance: float = Field(1.0, ge=0, description="sampling: scale of classifier-free guidance; 1 is none")
    autoguidance: float = Field(1.0, ge=0, description="sampling: scale of the way from the part guide; 1 is none")
    guidance_interval: tuple[float, float] = Field(
        (0.0, 1.0), description="sampling: the times t, from 0 for records to 1 for noise, between which guidance acts"
    )
    score_evaluations: int = Field(100, ge=5, description="scoring: evaluations of the network")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay")
    ema: float | None = Field(0.999, gt=0, lt=1, description="decay of the averaged weights; none turns it off")

    @model_validator(mode="after")
    def _guided_by_something(self) -> DenoisingSpec:
        if self.guidance != 1.0 and not self.conditional:
            raise ValueError("guidance leads towards a condition: it needs conditional, or stays 1")
        low, high = self.guidance_interval
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(f"guidance_interval must lie in [0, 1] and be in order (got {low:g}, {high:g})")
        return self
