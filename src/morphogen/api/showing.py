"""The events of a training, shown as they pass."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from morphogen.core.errors import MorphogenWarning
from morphogen.trainer import Event


def shown_events(events: Iterator[Event], label: str, progress: bool) -> Iterator[Event]:
    """The events, shown as they pass; without a progress bar their warnings become `MorphogenWarning`s."""
    from morphogen.report.progress import watch

    if progress:
        yield from watch(events, label=label)
        return
    for event in events:
        for warning in event.warnings:
            warnings.warn(warning, MorphogenWarning, stacklevel=3)
        yield event
