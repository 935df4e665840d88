"""What a family's part of the quickstart consists of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from morphogen.report.curves import curves, series
from morphogen.report.html import Report
from morphogen.report.log import read_log
from morphogen.report.sheets import sheet

if TYPE_CHECKING:
    from morphogen.api import Model

DIGITS, PORTRAITS = "digits", "portraits:captions=none"
WHITE = (255, 255, 255)
AIR = 0.2  # of a picture, between two
TILE = 64  # pixels of a picture on a sheet, about
Figures = list[tuple[Any, str]]  # each with its caption


@dataclass(frozen=True)
class Training:
    """A model to train, in a folder called `name`.

    label    what trains, for people
    steps    more overfits, or brings nothing
    enough   steps from which on pictures can be expected to be good
    share    of the time that all trainings have together
    look_every   seconds between looks at held-out records and samples
    """

    name: str
    label: str
    family: str
    data: str
    steps: int
    enough: int
    share: float
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    batch_size: int = 128
    look_every: float = 10.0

    def recipe(self, budget: float) -> dict[str, Any]:
        """All steps, as far as there is time for them in a budget of seconds."""
        length = {"steps": self.steps, "budget": budget}
        often = {"log_every": 10, "sheet_seconds": self.look_every}
        return {**length, **often, "batch_size": self.batch_size, "compile": "off", "auto": False}


@dataclass(frozen=True)
class Trained:
    """How a training went: its steps and seconds, and the warnings that held at its end."""

    steps: int
    seconds: float
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Chapter:
    """One family: its models, and what the report shows of them.

    title      what the models are
    sentence   how they work, for the first screen
    page       of the documentation
    trainings  the first is of digits, the last of portraits
    write      adds a section to the report, given the folder that the models are in
    measures   of the model of digits, besides those that all chapters have in common
    likelihood whether it has one
    classes    whether the model of digits is told classes, and can be compared with others that are
    """

    title: str
    sentence: str
    page: str
    trainings: tuple[Training, ...]
    write: Callable[[Report, Path], None]
    measures: tuple[str, ...] = ()
    likelihood: bool = True
    classes: bool = True

    @property
    def of_digits(self) -> Training:
        """The training on digits that is judged."""
        return self.trainings[0]

    @property
    def of_portraits(self) -> Training:
        """The training on portraits, which is judged and shown first."""
        return self.trainings[-1]


def airy(pixels: Any, **layout: Any) -> Image.Image:
    """A sheet of pictures (N, C, H, W) uint8 on white, with air between them."""
    array = np.asarray(pixels)
    scale = max(1, round(TILE / array.shape[-1]))
    return sheet(array, background=WHITE, gap=round(AIR * array.shape[-1] * scale), scale=scale, **layout)


def mosaic(pixels: Any, columns: int, air: int = 4) -> Image.Image:
    """The same at the pictures' own size, for sliders."""
    return sheet(pixels, columns=columns, background=WHITE, gap=air, scale=1)


def by_class(model: Model, column: str) -> tuple[Any, str]:
    """What a model of digits draws of each class; `column` says what the samples of one column have in common."""
    drawn = np.concatenate([model.sample(8, seed=2, label=k).pixels for k in range(10)])
    return (
        airy(drawn, columns=8, row_labels=[str(k) for k in range(10)]),
        f"Digits: 8 samples of each class; those of a column {column}",
    )


def logged(model: Model, group: str, caption: str, names: Collection[str] = (), **axes: str) -> Figures:
    """The curves of these numbers, or all, in a training's log: one figure, or none where it was too short for any."""
    lines = series(read_log(model.path / "log.jsonl"), group)
    lines = {name: line for name, line in lines.items() if not names or name in names}
    return [(curves(lines, **axes), caption)] if lines else []
