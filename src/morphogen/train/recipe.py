"""`Recipe`: how to train, apart from what to train.

What belongs to the model (learning rates, betas, averaging) is in the family's players.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import pydantic

from morphogen.core.spec import Spec

_UNITS = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)")


def seconds(duration: Any) -> Any:
    """Seconds from "90s", "10min", "1h30min" or a number of seconds. Raises ValueError."""
    if not isinstance(duration, str):
        return duration
    text = duration.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(f"({_PART.pattern})+", text):
        raise ValueError('expected a duration such as "90s", "10min" or "1h30min"')
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


class Recipe(Spec):
    """How long, how fast and on what to train.

    steps, epochs, budget   how long: exactly one of them; a budget is a duration ("10min") or seconds
    batch_size   records a step, over all processes and accumulated parts
    accumulate   parts that the batch is cut into, one after the other, to save memory
    schedule     of the learning rate after `warmup` steps of linear rise (at most a tenth of the run)
    clip         largest norm of one player's gradient; None clips nothing. The log says how often it acts
    precision    "auto" takes bf16 where the hardware multiplies in it
    compile      "auto" compiles runs of five minutes or more, if that is measured to be faster
    distributed  under torchrun: "ddp" replicates the model, "fsdp" shards it
    flips        mirror pictures at random
    log_every    steps between two lines of the log
    checkpoint_seconds, sheet_seconds   time between checkpoints, and between sample sheets and health checks
    """

    seed: int = 0
    steps: int | None = pydantic.Field(default=None, ge=1)
    epochs: float | None = pydantic.Field(default=None, gt=0)
    budget: Annotated[float | None, pydantic.BeforeValidator(seconds)] = pydantic.Field(
        default=None, gt=0, allow_inf_nan=False
    )
    batch_size: int = pydantic.Field(default=128, ge=1)
    accumulate: int = pydantic.Field(default=1, ge=1)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: int = pydantic.Field(default=100, ge=0)
    clip: float | None = pydantic.Field(default=200.0, gt=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    device: str = "auto"
    distributed: Literal["ddp", "fsdp"] = "ddp"
    flips: bool = False
    log_every: int = pydantic.Field(default=50, ge=1)
    checkpoint_seconds: float = pydantic.Field(default=60.0, gt=0)
    sheet_seconds: float = pydantic.Field(default=30.0, gt=0)

    @pydantic.model_validator(mode="after")
    def _one_length(self) -> Recipe:
        given = [name for name in ("steps", "epochs", "budget") if getattr(self, name) is not None]
        if len(given) != 1:
            came = " and ".join(given) or "none"
            raise ValueError(f"say how long to train by one of steps, epochs and budget (got {came})")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not divisible by accumulate {self.accumulate}")
        return self
