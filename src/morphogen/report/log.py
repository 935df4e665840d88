"""Read the valid entries of a training log: its lines of JSON, without those that a later session replaces.

A log only grows. A run that is resumed from the checkpoint of step N writes {"kind": "resumed", "step": N} first, and
what stands before this line of later steps is void: the resumed run makes these steps again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morphogen.core.errors import DataError
from morphogen.core.reading import parse_json

RESUMED = "resumed"


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log that count, in order.

    A process that is killed may leave half a line at the end or in front of a "resumed" line; it is left out. Any other
    line that is no JSON object raises `DataError` with its number.
    """
    lines = path.read_bytes().split(b"\n")
    entries: list[dict[str, Any]] = []
    bad: tuple[int, bytes] | None = None
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is empty, or half an entry
        entry = _entry(line)
        if entry is not None and entry.get("kind") == RESUMED:
            bad = None
            entries = [e for e in entries if _step(e) <= _step(entry)]
        elif bad is not None:
            break
        elif entry is None:
            bad = number, line
        else:
            entries.append(entry)
    if bad is not None:
        shown = bad[1][:60].decode("utf-8", "backslashreplace")
        raise DataError(f"{path}, line {bad[0]}: expected one JSON object, got {shown!r}.")
    return entries


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = parse_json(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _step(entry: dict[str, Any]) -> float:
    step = entry.get("step")
    return step if isinstance(step, int | float) else 0
