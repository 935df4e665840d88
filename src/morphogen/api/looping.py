"""A training as a loop over its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Unpack

from morphogen.api.beginning import begin
from morphogen.api.opened import OpenModel
from morphogen.api.resuming import Asked, completed, holds_run
from morphogen.api.training_options import TrainingOptions
from morphogen.core.errors import UsageError
from morphogen.data.in_memory import AnyData
from morphogen.report import mirrors
from morphogen.trainer import Event
from morphogen.trainer.distributed import leads


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
    log: str | Sequence[str] | None = None,
    **settings: Unpack[TrainingOptions],
) -> Iterator[Event]:
    """Train a model as a loop over its events: nothing happens until it is iterated, and breaking off ends it.

    Args:
        family, data, out, preset, resume, start, parts, options, recipe, settings: as of `train`.
        on_plan: called with each line of the plan, before the first step.
        log: as of `train`.
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
    kinds, going_on = mirrors.asked(log), resume and holds_run(out)
    asked = Asked.of(family, data, preset, start, parts, options, recipe, settings)
    if going_on:
        asked = completed(asked, Path(out))
    if asked.family is None or asked.data is None:
        none = f"{out} holds no run to resume; to begin one, " if resume else ""
        raise UsageError(f"{none}say which family to train and on which data: morphogen train FAMILY --data SOURCE.")
    events = begin(asked, Path(out), resume, began, on_plan)
    kinds = tuple(dict.fromkeys((*kinds, *(mirrors.begun(Path(out)) if going_on else ()))))
    return _mirrored(events, mirrors.Mirrors(Path(out), kinds, going_on)) if kinds and leads() else events


def _mirrored(events: Generator[Event, None, None], to: mirrors.Mirrors) -> Iterator[Event]:
    """The same events, while mirrors of the log are kept."""
    step = 0
    try:
        with closing(events):
            for event in events:
                step = event.step
                to.update(step)
                yield event
    finally:
        to.update(step, last=True)
        to.close()
