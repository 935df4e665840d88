"""The ranges of the numbers that calls take. A number outside its range is wrong usage, before any work is done.

Arguments and flags of the same name have the same range. Python and the command line refuse NaN, infinity and
impossible sizes alike. A family or a function with a smaller range checks that range itself.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

from morphogen.core.errors import UsageError

MAX_SEED = 2**64 - 1
WHOLE: Mapping[str, tuple[int, int]] = {
    "seed": (0, MAX_SEED),
    "n": (1, 10**8),
    "batch_size": (1, 10**6),
    "threads": (1, 4096),
    "steps": (1, 10**6),
    "times": (2, 10**6),
    "frames": (2, 10**6),
    "stops": (2, 10**6),
    "candidates": (1, 10**4),
    "samples": (1, 10**6),
    "draws": (1, 10**6),
    "calls": (1, 10**8),
    "references": (0, 1000),
    "canaries": (0, 10**6),
    "factors": (0, 10**6),
    "scale": (2, 64),
    "window": (4, 4096),
    "maps": (1, 10**6),
}
REAL: Mapping[str, tuple[float, float]] = {
    "alpha": (0.0, 1.0),
    "confidence": (0.0, 1.0),
    "guidance": (-1000.0, 1000.0),
    "autoguidance": (-1000.0, 1000.0),
    "truncation": (0.0, 100.0),
    "temperature": (0.0, 100.0),
    "strength": (-1000.0, 1000.0),
    "fps": (0.1, 50.0),
    "seconds": (0.001, 10**6),
}


def check_numbers(**given: Any) -> None:
    """Raise `UsageError` that names the first number outside its range. None is skipped.

    Each number of a sequence is checked.
    """
    for name, value in given.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None:
                _check(name, one)


def _check(name: str, value: Any) -> None:
    flag = "--" + name.replace("_", "-")
    if name in WHOLE:
        low, high = WHOLE[name]
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not low <= int(value) <= high:
            raise UsageError(f"{flag} is a whole number from {low:,} to {_short(high)} (got {_got(value)}).")
    else:
        least, most = REAL[name]
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not real or not math.isfinite(value) or not least <= value <= most:
            raise UsageError(f"{flag} is a number from {least:g} to {most:g} (got {_got(value)}).")


def _short(n: int) -> str:
    return "2^64 - 1" if n == MAX_SEED else f"{n:,}"


def _got(value: Any) -> str:
    try:
        said = str(value)
    except ValueError:  # Python does not write integers with so many digits
        said = "a number of thousands of digits"
    return said if len(said) <= 60 else said[:57] + "..."
