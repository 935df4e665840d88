"""Events of a training, to the end, under a progress bar."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from morphogen.core.errors import MorphogenError

BEGAN = time.perf_counter()  # of the command: this module is imported at once

if TYPE_CHECKING:
    from morphogen.report.progress import E


def watch(events: Iterable[E], label: str) -> E:
    """Run to the end under a progress bar; the last event. Raises `MorphogenError` where there is none."""
    from morphogen.report import progress

    last = deque(progress.watch(events, label=label) if is_leader() else events, maxlen=1)
    if not last:
        raise MorphogenError("there was nothing left to do: training had already reached its end.")
    return last[0]


def is_leader() -> bool:
    """False in the processes of a `torchrun` that are to be silent."""
    return os.environ.get("RANK", "0") == "0"
