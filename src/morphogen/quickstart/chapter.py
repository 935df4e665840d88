"""What a family's part of the quickstart consists of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from morphogen.report.curves import curves, series
from morphogen.report.html import Report
from morphogen.report.log import read_log
from morphogen.report.sheets import sheet

if TYPE_CHECKING:
    from morphogen.api import Model

DATA = "digits"
Figures = list[tuple[Any, str]]  # each with its caption


@dataclass(frozen=True)
class Training:
    """A model to train, in a folder called `name`.

    steps  more overfits 1,400 pictures, or brings nothing
    share  of the quickstart's time
    look_every   seconds between looks at held-out records and samples
    """

    name: str
    family: str
    steps: int
    share: float
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    batch_size: int = 128
    look_every: float = 5.0
    data: str = DATA

    def recipe(self, allowed: float) -> dict[str, Any]:
        """All steps, as far as there is time for them in its share of the `allowed` seconds of the quickstart."""
        length = {"steps": self.steps, "budget": self.share * allowed}
        often = {"log_every": 10, "sheet_seconds": self.look_every}
        return {**length, **often, "batch_size": self.batch_size, "compile": "off", "auto": False}


@dataclass(frozen=True)
class Chapter:
    """One family: its models, of which the first is judged, and what the report shows of them.

    title     what the models are, in a few words
    write     adds sections to the report, given the folder that the models are in
    measures  of the judged model, besides those that all chapters have in common
    likelihood   whether it has one
    compared  with the others, on the same digits; a chapter of other data tells itself how good its model is
    """

    title: str
    trainings: tuple[Training, ...]
    write: Callable[[Report, Path], None]
    measures: tuple[str, ...] = ()
    likelihood: bool = True
    compared: bool = True

    @property
    def judged(self) -> str:
        """The folder of the model that is judged."""
        return self.trainings[0].name


def samples(model: Model, column: str) -> Figures:
    """What a conditional model of digits draws; `column` says what the samples of one column have in common."""
    drawn = model.sample(100, seed=1).pixels
    by_class = np.concatenate([model.sample(10, seed=2, label=k).pixels for k in range(10)])
    return [
        (sheet(drawn, columns=10), "100 samples, no class given"),
        (
            sheet(by_class, columns=10, row_labels=[str(k) for k in range(10)]),
            f"10 samples of each class; those of a column {column}",
        ),
    ]


def logged(model: Model, group: str, caption: str, names: Collection[str] = (), **axes: str) -> Figures:
    """The curves of these numbers, or all, in a training's log: one figure, or none where it was too short for any."""
    lines = series(read_log(model.path / "log.jsonl"), group)
    lines = {name: line for name, line in lines.items() if not names or name in names}
    return [(curves(lines, **axes), caption)] if lines else []
