"""A training by a peer that lasts so many seconds of a core, and what it then draws; for `quality.equal_time`.

A module of a peer gives a function that trains; `main` gives it the pictures and the clock, measures it, and writes
what it draws. The clock runs from before the pictures are read until the last step; imports and drawing are left out,
as they are for ours.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fair

Draw = Callable[[int, int], np.ndarray]  # n, seed -> uint8 pictures (n, C, H, W)
Train = Callable[[np.ndarray, "Limit", Mapping[str, Any]], Draw]
WARM_STEPS, WARM_SHARE = 500, 0.1  # a warm-up of min(500, steps / 10), which as seconds is a tenth of them


class Limit:
    """The clock of a training, its end, and the learning rate that fits its length."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.steps = seconds, 0
        self._start = fair.clock()

    def more(self) -> bool:
        """Whether there is time for another step, which is counted."""
        if self.fraction() >= 1.0:
            return False
        self.steps += 1
        return True

    def fraction(self) -> float:
        """The share of the seconds that is spent."""
        return self.spent()["processor_s"] / self.seconds

    def rate(self, *, decays: bool = True) -> float:
        """A factor of the learning rate: a linear warm-up, then a cosine to zero at the end, or constant."""
        done = min(1.0, self.fraction())
        warm = min(1.0, max(self.steps / WARM_STEPS, done / WARM_SHARE))
        return warm * (0.5 * (1.0 + math.cos(math.pi * done)) if decays else 1.0)

    def spent(self) -> dict[str, float]:
        """Seconds by the clock and of all processors together until now."""
        found: dict[str, float] = fair.since(self._start).to_dict()
        return found


def main(doc: str | None, setups: Mapping[str, Mapping[str, Any]], train: Train, needs: Sequence[str] = ()) -> None:
    """Train as the command line says, draw, and write both; the modules that this needs are imported before it."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setup", choices=setups)
    parser.add_argument("pictures", type=Path, help="uint8 pictures (N, C, H, W) as .npy")
    parser.add_argument("out", type=Path, help="SAMPLES.npz; what it took goes beside it, as .json")
    parser.add_argument("--seconds", type=float, required=True, help="of a core")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--change", type=json.loads, default={}, help="settings other than those of the setup, as JSON")
    asked = parser.parse_args()
    setup = {**setups[asked.setup], **asked.change, "seed": asked.seed}
    for name in needs:
        importlib.import_module(name)
    limit = Limit(asked.seconds)
    draw = train(np.load(asked.pictures), limit, setup)
    facts = {"spent": limit.spent(), "steps": limit.steps, "setup": setup}
    np.savez(asked.out, x=draw(asked.n, 1))
    asked.out.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
