"""What a training would be, without making it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from morphogen.api.opened import OpenModel
from morphogen.api.preparing import prepare
from morphogen.api.resuming import Asked
from morphogen.api.training_options import TrainingOptions
from morphogen.data.in_memory import AnyData
from morphogen.trainer.plan import Plan


def plan(
    family: str,
    data: AnyData,
    *,
    preset: str | None = None,
    start: OpenModel | Path | str | None = None,
    parts: Mapping[str, OpenModel | Path | str] | None = None,
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    began: float | None = None,
    **settings: Unpack[TrainingOptions],
) -> Plan:
    """Say what `train` would do with these arguments: it reads the data and tries some steps, and writes nothing.

    Args:
        family, data, preset, start, parts, options, recipe, settings: as of `train`.
        began: when a budget of time begins to count, a moment of `time.perf_counter()`; None: now.

    Returns:
        Steps, passes over the records, memory in MB, seconds, what was chosen from data and time and why, and ways out
        where there are too few steps.

    Raises:
        UsageError: an unknown option or an impossible value.
        DataError: data that cannot be read.

    Example:
        >>> mg.plan("vae", "digits", steps=200).batch_size
        64
    """
    asked = Asked.of(family, data, preset, start, parts, options, recipe, settings)
    began = time.perf_counter() if began is None else began
    return prepare(asked, began).planned(began)
