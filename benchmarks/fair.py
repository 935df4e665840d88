"""The judge of comparisons: what two contestants spent must be equal, and what was trained must have learned.

A comparison that breaks a rule is void: the results page shows its value and the broken rules in place of a verdict.

    equal time    processor seconds and seconds by the clock of the trainings differ by at most 5 %
    equal places  the same processor, precision of its arithmetic included, and as many threads
    trained       no contestant's samples are worse than the mean of the training set, repeated
    repeated      at least three interleaved rounds of a speed, at least three seeds of a training
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

TOLERANCE = 0.05  # by which durations may differ
MIN_ROUNDS = MIN_SEEDS = 3


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock and of all processors together; None where they were not recorded."""

    wall_s: float | None
    processor_s: float | None

    def to_dict(self) -> dict[str, Any]:
        """For a result."""
        return asdict(self)


def clock() -> tuple[float, float]:
    """The clock, and the seconds of all processors that this process and those that it waited for have used."""
    return time.perf_counter(), sum(os.times()[:4])


def since(before: tuple[float, float]) -> Spent:
    """What was spent since `clock` was read."""
    wall_s, processor_s = (b - a for a, b in zip(before, clock(), strict=True))
    return Spent(wall_s, processor_s)


def spent(training: Mapping[str, Any]) -> Spent:
    """What a record of a training says that it took; of one of ours its autoencoder's training included."""
    if "spent" in training:
        return Spent(training["spent"]["wall_s"], training["spent"]["processor_s"])
    parts = [training, *([training["first"]] if "first" in training else [])]
    durations = [part.get("duration_s") for part in parts]
    return Spent(None if None in durations else sum(durations), None)


def unequal_time(ours: Spent, theirs: Spent) -> Iterator[str]:
    """Why two trainings were not as long."""
    for what, a, b in (
        ("seconds by the clock", ours.wall_s, theirs.wall_s),
        ("processor seconds", ours.processor_s, theirs.processor_s),
    ):
        if a is None or b is None:
            yield f"{what} of {'both' if a is None and b is None else 'one'} not recorded"
        elif abs(a - b) > TOLERANCE * min(a, b):
            yield f"{what} differ: {a:,.0f} and {b:,.0f}"


def unequal_place(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """Why two trainings were not on the same hardware."""
    a, b = (one.get("hardware") or {} for one in (ours, theirs))
    if not a or not b:
        yield "hardware not recorded"
    elif (a["cpu"], a["threads"]) != (b["cpu"], b["threads"]):
        yield f"hardware differs: {a['cpu']}, {a['threads']} threads and {b['cpu']}, {b['threads']} threads"


def untrained(name: str, distance: Mapping[str, Any]) -> Iterator[str]:
    """Whether samples are farther from real records than the mean of the training set is."""
    mean = distance["baselines"]["training mean"]
    if not distance["value"] < mean:
        yield f"{name} did not train: {distance['value']:.3g}, the training mean has {mean:.3g}"


def too_few(number: int, least: int, what: str) -> Iterator[str]:
    """Whether there were fewer repetitions than a comparison needs."""
    if number < least:
        yield f"{number} of {least} {what}"


def verdict(*reasons: Iterable[str]) -> str:
    """All broken rules in one line; empty where the comparison is fair."""
    return "; ".join(dict.fromkeys(reason for of in reasons for reason in of))
