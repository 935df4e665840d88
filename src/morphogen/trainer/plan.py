"""What a training will be, before its first step: how many steps, over how many records, for how long, in what memory.

A plan with fewer steps than the family needs cannot work. It then names three ways out and how many steps each gives.
With a batch of B instead of b, a step takes about B / b of the time; with pictures of side s instead of S, (s / S)^2.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from morphogen.core.batch import BatchSource
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Family
from morphogen.core.recommendation import Choice
from morphogen.report.tables import duration
from morphogen.trainer.distributed import World, resolve_device
from morphogen.trainer.interrupt import Stop
from morphogen.trainer.log import Log
from morphogen.trainer.provenance import peak_memory_mb
from morphogen.trainer.recipe import Recipe
from morphogen.trainer.trainer import Trainer

_SMALL_BATCH, _SMALL_SIDE = 16, 32
_GAIN = 1.5  # a way out gives at least so many times the steps


@dataclass(frozen=True)
class Plan:
    """A training before its first step.

    Attributes:
        steps: how many; of `batch_size` records each, out of `records` in all
        seconds: how long it will take, with what comes before and after; None where that was not measured
        memory_mb: the largest memory of the process so far; None where the system does not tell
        needs: fewer steps than this make nothing that resembles the records
        chosen: what was chosen from data and time, each with its reason
        ways_out: what to do if there are too few steps
        privacy: of a private training, what it promises and the noise that this takes

    Example:
        >>> print(mg.plan("vae", "digits", steps=200))
    """

    steps: int
    batch_size: int
    records: int
    seconds: float | None
    memory_mb: float | None
    needs: int = 0
    noun: str = "records"
    chosen: Sequence[Choice] = ()
    ways_out: Sequence[str] = ()
    privacy: Sequence[str] = ()

    @property
    def passes(self) -> float:
        """How often each record is seen."""
        return self.steps * self.batch_size / max(1, self.records)

    @property
    def hopeless(self) -> bool:
        """Whether there are too few steps."""
        return self.steps < self.needs / 2

    def lines(self) -> list[str]:
        """The plan, what was chosen, and the ways out if it cannot work, line by line."""
        many = f"{self.passes:.0f} passes" if self.passes >= 1.5 else f"{self.passes:.1f} passes"
        said = [
            f"{self.steps:,} step{'s' * (self.steps != 1)} of {self.batch_size}",
            f"{many} over {self.records:,} {self.noun}",
        ]
        if self.memory_mb is not None:
            said.append(f"{self.memory_mb / 1000:.1f} GB")
        if self.seconds is not None:
            said.append(f"about {duration(self.seconds)}")
        found = [f"plan: {', '.join(said)}"]
        if self.chosen:
            found.append("chosen: " + "; ".join(_with_reasons(self.chosen)))
        if self.hopeless:
            found.append(
                f"warning: {self.steps:,} of the about {self.needs:,} steps after which samples resemble {self.noun}."
                f" Ways out: {'; '.join(self.ways_out)}"
            )
        return [*found, *self.privacy]

    def choices(self) -> dict[str, Any]:
        """What depends on no measurement, for the log."""
        known = self.to_dict()
        return {name: known[name] for name in ("steps", "batch_size", "records", "passes", "hopeless", "chosen")}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        told: dict[str, Any] = {
            "steps": self.steps,
            "batch_size": self.batch_size,
            "records": self.records,
            "passes": self.passes,
        }
        told |= {"seconds": self.seconds, "memory_mb": self.memory_mb, "hopeless": self.hopeless}
        chosen = [{"name": c.name, "value": c.value, "why": c.why} for c in self.chosen]
        return {**told, "chosen": chosen, "ways_out": list(self.ways_out), "privacy": list(self.privacy)}

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True)
class Advice:
    """What a plan says beside what the trainer knows: the steps that the family needs, and what was chosen.

    `tell` is called with each line before the first step.
    """

    needs: int = 0
    chosen: Sequence[Choice] = ()
    tell: Callable[[str], object] | None = None

    def say(self, *lines: str) -> None:
        """Tell these lines, if somebody listens."""
        for line in lines if self.tell is not None else ():
            self.tell(line)  # type: ignore[misc]


def plan(trainer: Trainer, records: int, advice: Advice) -> Plan:
    """The plan of a trainer whose length is planned already."""
    steps, recipe, data, pace = trainer.budget.total or 1, trainer.recipe, trainer.family.data, trainer.budget.pace
    seconds = None if pace is None else trainer.elapsed_s + max(0, steps - trainer.step) * pace
    if recipe.budget is not None and seconds is not None:
        seconds = min(seconds, recipe.budget) if trainer.budget.asked else recipe.budget
    return Plan(
        steps=steps,
        batch_size=recipe.batch_size,
        records=records,
        seconds=seconds,
        memory_mb=_memory_mb(trainer.world.device),
        needs=advice.needs,
        noun="pictures" if data.is_picture else "records",
        chosen=tuple(advice.chosen),
        ways_out=tuple(_ways_out(steps, recipe, data, records, advice.needs, pace)),
        privacy=() if trainer.private is None else tuple(trainer.private.lines()),
    )


def measured(
    family: Family,
    stream: BatchSource,
    recipe: Recipe,
    began: float,
    most_s: float,
    pace: float | None = None,
    moments: Family | None = None,
) -> Trainer:
    """A trainer in memory alone, which has planned its length by the seconds of a step, `pace` or of trial steps."""
    world = World(resolve_device(recipe.device))
    trainer = Trainer(family, stream, recipe, world, Log(Path(os.devnull), world), Stop(), began, moments)
    trainer.budget.pace = trainer.try_steps(most_s) if pace is None else pace
    trainer.replan()
    if trainer.private is not None:
        trainer.private.plan(trainer.budget.total or 1)
    return trainer


def _ways_out(steps: int, recipe: Recipe, data: DataSpec, records: int, needs: int, pace: float | None) -> list[str]:
    if steps >= needs:
        return []
    found = []
    smaller = max(1, min(_SMALL_BATCH if recipe.batch_size > _SMALL_BATCH else recipe.batch_size // 2, records))
    if pace is not None and recipe.budget is not None:
        if (gain := recipe.batch_size / smaller) >= _GAIN:
            found.append(f"--batch-size {smaller} (about {gain:.0f} times the steps)")
        side = min(data.shape[1:]) if data.is_picture else 0
        if side >= 2 * _SMALL_SIDE:
            found.append(f"size={_SMALL_SIDE} in --data (about {(side / _SMALL_SIDE) ** 2:.0f} times the steps)")
        minutes = math.ceil(1.1 * needs * pace / 60)
        found.append(f"--budget {minutes}min (about {needs:,} steps)")
    else:
        found.append(f"--steps {needs}" + ("" if pace is None else f" (about {duration(needs * pace)})"))
    return found[:3]


def _memory_mb(device: torch.device) -> float | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return peak_memory_mb()


def _with_reasons(choices: Sequence[Choice]) -> list[str]:
    """Choices with their reasons; those of one reason together."""
    groups = [list(group) for _, group in itertools.groupby(choices, key=lambda c: c.why)]
    return [", ".join(f"{c.name} {_value(c.value)}" for c in group) + f" ({group[0].why})" for group in groups]


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"
