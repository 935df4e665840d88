"""A training as a loop over its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

from morphogen.api.beginning import begin
from morphogen.api.opened import OpenModel
from morphogen.api.resuming import Asked, completed, holds_run
from morphogen.api.training_options import TrainingOptions
from morphogen.core.errors import UsageError
from morphogen.data.in_memory import AnyData
from morphogen.trainer import Event


def training(
    family: str | None = None,
    data: AnyData | None = None,
    out: Path | str | None = None,
    *,
    preset: str | None = None,
    resume: bool = False,
    start: OpenModel | Path | str | None = None,
    parts: Mapping[str, OpenModel | Path | str] | None = None,
    options: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    began: float | None = None,
    on_plan: Callable[[str], object] | None = None,
    **settings: Unpack[TrainingOptions],
) -> Iterator[Event]:
    """Train a model as a loop over its events: nothing happens until it is iterated, and breaking off ends it.

    Args:
        family, data, out, preset, resume, start, parts, options, recipe, settings: as of `train`.
        on_plan: called with each line of the plan, before the first step.
        began: when a budget of time begins to count, a moment of `time.perf_counter()`; None: now.

    Returns:
        The events: step, loss terms, speed, warnings. When they end, `out` holds the model; broken off, it holds an
        unfinished model and a checkpoint.

    Raises:
        UsageError: an unknown option or an impossible value, at once.
        DataError: data that cannot be read.

    Example:
        >>> for event in mg.training("vae", "digits", "runs/second", steps=200):
        ...     print(event.step, event.terms)
    """
    began = time.perf_counter() if began is None else began
    if out is None:
        raise UsageError("say which folder the model is to be written to: out, or --out DIR.")
    asked = Asked.of(family, data, preset, start, parts, options, recipe, settings)
    if resume and holds_run(out):
        asked = completed(asked, Path(out))
    if asked.family is None or asked.data is None:
        none = f"{out} holds no run to resume; to begin one, " if resume else ""
        raise UsageError(f"{none}say which family to train and on which data: morphogen train FAMILY --data SOURCE.")
    return begin(asked, Path(out), resume, began, on_plan)
