"""The time of a quickstart: what each training may take of it, and where it stands.

A training of share s gets, of the seconds that are left before the judging, the part s / (the shares of all that are
still to come). So what an early one leaves, or takes too much, is shared by the later ones, on fast and slow machines.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

JUDGING = 0.22  # of all the time, for judging
LEAST_S = 1.0  # seconds of any training


@dataclass(frozen=True)
class Moment:
    """Where a quickstart stands: an event for a progress bar, under the `label` of what it does."""

    label: str
    step: int
    total: int | None
    elapsed_s: float
    remaining_s: float | None
    terms: Mapping[str, float] = field(default_factory=dict)
    images_per_s: float | None = None
    warnings: Sequence[str] = ()


class Clock:
    """`allowed` seconds, of which some have passed since `start`; `shares` of all trainings to come."""

    def __init__(self, start: float, allowed: float, shares: Sequence[float]) -> None:
        self._start, self.allowed, self._shares = start, allowed, list(shares)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    @property
    def left_s(self) -> float:
        """Seconds until the end; 0 after it."""
        return max(0.0, self.allowed - self.elapsed_s)

    def next_budget(self) -> float:
        """Seconds for the next training."""
        share, to_come = self._shares[0], sum(self._shares)
        self._shares = self._shares[1:]
        return max(LEAST_S, (self.left_s - JUDGING * self.allowed) * share / to_come)

    def moment(self, label: str, step: int, total: int | None) -> Moment:
        """Now, at this step of something."""
        return Moment(label, step, total, self.elapsed_s, self.left_s)
