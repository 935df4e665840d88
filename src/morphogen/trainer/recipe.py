"""`Recipe`: the settings of a training that do not depend on the model.

Settings of the model (learning rates, betas, averaging) are in the family's players.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pydantic
from pydantic import Field

from morphogen.core.durations import seconds
from morphogen.core.limits import MAX_SEED
from morphogen.core.privacy import PrivacyTerms, parse_privacy, privacy_text
from morphogen.core.spec import Spec


class Recipe(Spec):
    """The settings of a training. Its length is a number of steps or epochs, or a budget, or the shorter of both."""

    unsigned: ClassVar[frozenset[str]] = frozenset({"seed"})

    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="where all randomness starts")
    steps: int | None = Field(default=None, ge=1, le=10**9, description="length: number of steps")
    epochs: float | None = Field(default=None, gt=0, le=1e9, description="length: passes over the training records")
    budget: Annotated[float | None, pydantic.BeforeValidator(seconds)] = Field(
        default=None, gt=0, le=1e9, description="length: a duration such as 10min, or seconds"
    )
    batch_size: int = Field(
        default=128, ge=1, le=10**6, description="records a step, over all processes and accumulated parts"
    )
    accumulate: int = Field(
        default=1, ge=1, le=10**6, description="parts that the batch is cut into, in turn, to save memory"
    )
    lr_schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="of the learning rate, after the warm-up"
    )
    warmup: int = Field(
        default=100, ge=0, le=10**9, description="steps of linear rise of the learning rate, at most a tenth of the run"
    )
    clip: float | None = Field(
        default=200.0, gt=0, description="largest norm of a player's gradient; none clips nothing"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="auto takes bf16 where the hardware multiplies in it"
    )
    compile: Literal["auto", "on", "off"] = Field(
        default="auto", description="auto compiles runs of twenty minutes or more, if that is measured to be faster"
    )
    device: str = Field(default="auto", description="cpu, cuda or cuda:N; auto is a GPU where there is one")
    distributed: Literal["ddp", "fsdp"] = Field(
        default="ddp", description="under torchrun: ddp replicates the model, fsdp shards it"
    )
    flips: bool = Field(default=False, description="mirror pictures left to right at random")
    robust: float = Field(
        default=0.0, ge=0.0, le=0.5, description="share of each batch, that of the largest losses, to leave out"
    )
    auto: bool = Field(default=True, description="choose from data and time what is not given")
    log_every: int = Field(default=50, ge=1, le=10**9, description="steps between two lines of the log")
    privacy: Annotated[str | None, pydantic.BeforeValidator(privacy_text)] = Field(
        default=None, description="differential privacy: epsilon=1,delta=1e-5 and more; none: a training without it"
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        le=10**6,
        description="end after so many looks at held-out records without a better one; none: never",
    )
    checkpoint_seconds: float = Field(default=60.0, gt=0, le=1e9, description="seconds between checkpoints")
    sheet_seconds: float = Field(
        default=30.0, gt=0, le=1e9, description="seconds between sample sheets and health checks"
    )

    @pydantic.model_validator(mode="after")
    def _one_length(self) -> Recipe:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("say how long to train by one of steps and epochs, and a budget if you like (got both)")
        if self.steps is None and self.epochs is None and self.budget is None:
            raise ValueError("say how long to train by steps, epochs or a budget (got none)")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not divisible by accumulate {self.accumulate}")
        return self

    @pydantic.model_validator(mode="after")
    def _private(self) -> Recipe:
        if self.privacy is None:
            return self
        if self.patience is not None:
            raise ValueError("a private training cannot end by what held-out records say: leave out patience")
        if self.precision == "bf16" or self.compile == "on":
            raise ValueError("a private training computes in fp32, uncompiled: leave out precision and compile")
        if self.flips:
            raise ValueError("a private training does not mirror pictures: leave out flips")
        if self.robust:
            raise ValueError("a private training does not tell which records differ: leave out robust")
        return self

    @property
    def terms(self) -> PrivacyTerms | None:
        """What is asked for about privacy."""
        return parse_privacy(self.privacy)
