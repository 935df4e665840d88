"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(h|min|m|s)")


def seconds(duration: Any) -> Any:
    """Parse "90s", "10min", "1h30min" or a number of seconds into seconds. Raises `ValueError`."""
    if not isinstance(duration, str):
        return duration
    if len(duration) > 100:
        raise ValueError("expected a duration of at most 100 characters")
    text = duration.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(f"({_PART.pattern})+", text):
        raise ValueError('expected a duration such as "90s", "10min" or "1h30min"')
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
