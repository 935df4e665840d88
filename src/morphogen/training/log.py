"""What a run says of itself: means of the losses, lines of the log, events for whoever watches."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morphogen.core.errors import MorphogenError
from morphogen.training.distributed import World


@dataclass(frozen=True)
class Event:
    """Where training stands, for a progress bar, a live preview or a test.

    step       steps done; of `total`, None while a budget is still being measured
    elapsed_s, remaining_s   seconds, over all sessions of the run
    terms      means of the loss terms since the last line of the log
    metrics    the same for the family's metrics, the gradient norm and the share of clipped moves
    warnings   what is new and wrong, each said once
    sheet      true if samples were drawn just before
    """

    step: int
    total: int | None
    elapsed_s: float
    remaining_s: float | None
    terms: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float | list[float]] = field(default_factory=dict)
    images_per_s: float | None = None
    warnings: list[str] = field(default_factory=list)
    sheet: bool = False


class Meter:
    """Running means, kept where the values are computed so that nothing waits for them."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Count one value, a scalar or a vector, into the mean of `name`."""
        value = value.detach()
        if name in self._sums:
            self._sums[name].add_(value)
            self._counts[name] += 1
        else:
            self._sums[name] = value.to(torch.float32, copy=True)
            self._counts[name] = 1

    def means(self, world: World) -> dict[str, Any]:
        """The means so far, over all processes: numbers, and lists for vectors."""
        means = world.mean([total / self._counts[name] for name, total in self._sums.items()])
        return {name: mean.tolist() for name, mean in zip(self._sums, means, strict=True)}

    def clear(self) -> None:
        """Begin anew."""
        self._sums, self._counts = {}, {}

    def state(self) -> dict[str, Tensor]:
        """Sums and counts, to go on from."""
        counts = {f"count/{name}": torch.tensor(count) for name, count in self._counts.items()}
        return {f"sum/{name}": total for name, total in self._sums.items()} | counts

    def load_state(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """The inverse of `state`."""
        sums = {n.removeprefix("sum/"): v for n, v in tensors.items() if n.startswith("sum/")}
        self._sums = {name: value.to(device, copy=True) for name, value in sums.items()}
        self._counts = {name: int(tensors[f"count/{name}"]) for name in sums}


class Meters:
    """The meters of a run: loss terms, and everything else."""

    def __init__(self) -> None:
        self.terms, self.metrics = Meter(), Meter()

    def clear(self) -> None:
        """Begin anew."""
        self.terms.clear()
        self.metrics.clear()


class Log:
    """Lines of JSON, one for each entry, in the order of steps; written by the leading process alone."""

    def __init__(self, path: Path, world: World) -> None:
        self.path, self._world = path, world

    def truncate(self, step: int) -> None:
        """Drop what was written after `step`, and a line that a kill cut short."""
        if not self._world.leads or not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                break
        self.path.write_text("".join(kept), encoding="utf-8")

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one entry; numbers that are not finite become null. Raises `MorphogenError` if it cannot."""
        if not self._world.leads:
            return
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(_finite(entry), ensure_ascii=False, allow_nan=False) + "\n")
        except OSError as error:
            raise MorphogenError(f"{self.path} could not be written ({error}). Make room, and resume.") from error


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
