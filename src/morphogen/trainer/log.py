"""The reports of a run: means of the losses, lines of the log, and events for observers."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morphogen.report.log import RESUMED, read_log
from morphogen.trainer.distributed import World


@dataclass(frozen=True)
class Event:
    """Where training stands, for a progress bar, a live preview or a test.

    Attributes:
        step: steps done; of `total`, None while a budget is still being measured
        elapsed_s, remaining_s: seconds, over all sessions of the run
        terms: means of the loss terms since the last line of the log
        metrics: the same for the family's metrics, the gradient norm and the share of clipped moves
        warnings: new problems, each given once
        notes: facts about the data; only the first event has them
        mended: warnings that do not hold any more
        sheet: true if samples were drawn just before

    Example:
        >>> for event in mg.training("vae", "digits", "runs/second", steps=200):
        ...     print(f"{event.step} of {event.total}", event.terms)
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
    mended: Sequence[str] = ()
    notes: Sequence[str] = ()


def with_notes(events: Generator[Event, None, None], notes: Sequence[str]) -> Generator[Event, None, None]:
    """Yield the same events, the first with `notes`. Closing this generator closes `events` and ends the training."""
    with closing(events):
        for event in events:
            yield replace(event, notes=notes)
            break
        yield from events


class Meter:
    """Running means, kept on the device of the values, so that the program does not wait for the device."""

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
        """Forget all values."""
        self._sums, self._counts = {}, {}

    def state(self) -> dict[str, Tensor]:
        """The sums and counts, for a checkpoint."""
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
        """Forget all values."""
        self.terms.clear()
        self.metrics.clear()


class Log:
    """Lines of JSON, one per entry, in the order of steps. The leading process appends them and never rewrites them.

    `report.log.read_log` reads it.
    """

    def __init__(self, path: Path, world: World) -> None:
        self.path, self._world = path, world
        self.problem: str | None = None  # the reason for a missing entry

    def begin(self, step: int) -> None:
        """Begin a session at `step`. Later steps and unfinished lines of an earlier session no longer count."""
        if self._world.leads and self.path.exists():
            self._append({"kind": RESUMED, "step": step}, b"\n" if self._cut() else b"")

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append one entry; numbers that are not finite become null. If writing fails, `problem` has the reason."""
        if not self._world.leads:
            return
        if self.problem is not None and self._cut():
            self.begin(entry["step"])  # so that readers skip an entry that a full disk has cut
        self._append(entry)

    def copy(self, path: Path) -> None:
        """Write the entries that count to `path`. Raises `OSError` and `DataError`."""
        lines = [json.dumps(e, ensure_ascii=False) + "\n" for e in read_log(self.path) if e.get("kind") != RESUMED]
        path.write_text("".join(lines), encoding="utf-8")

    def _append(self, entry: Mapping[str, Any], before: bytes = b"") -> None:
        try:
            with self.path.open("ab") as stream:
                stream.write(before + json.dumps(_finite(entry), ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            self.problem = error.strerror or str(error)

    def _cut(self) -> bool:
        """Whether the last line is cut off."""
        try:
            with self.path.open("rb") as stream:
                if not stream.seek(0, os.SEEK_END):
                    return False
                stream.seek(-1, os.SEEK_END)
                return stream.read() != b"\n"
        except OSError:
            return False


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
