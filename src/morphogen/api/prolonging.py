"""Making a training longer: `--steps +1000`, `--budget +10min`.

What was trained stays. From its step on, the schedule is that of a run which had the new length from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphogen.core.durations import seconds
from morphogen.core.errors import UsageError


def longer(more: Mapping[str, str], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The new length of a run, by what its checkpoint tells. Raises `UsageError` for more than one, or none at all."""
    if len(more) > 1:
        raise UsageError("--steps + and --budget + both say how much longer to train: give one.")
    ((name, text),) = more.items()
    number = text.removeprefix("+").strip()
    step, total = int(checkpoint["step"]), checkpoint.get("total")
    try:
        if name == "steps":
            return {"steps": max(step, int(total or step)) + _positive(int(number)), "epochs": None, "budget": None}
        spent = max(float(checkpoint["elapsed_s"]), float(checkpoint["run"]["recipe"].get("budget") or 0.0))
        spent = float(checkpoint["elapsed_s"]) if total is not None and step >= int(total) else spent
        return {"steps": None, "epochs": None, "budget": spent + _positive(float(seconds(number)))}
    except ValueError as error:
        raise UsageError(f"--{name} {text}: {error}; write --steps +1000 or --budget +10min.") from None


def _positive(value: Any) -> Any:
    if not value > 0:
        raise ValueError("expected more than nothing")
    return value
