"""What each shipped model learns from, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphogen import api
from recipes.pretrained import emoji


@dataclass(frozen=True)
class Recipe:
    """A text-to-image model by diffusion.

    data     makes the records of each stage, given the folder of the named sets and a folder to write in
    options  of the family; training: of the trainer; budget: how long each stage is
    prompts  drawn in the end, with this guidance, to look at
    """

    data: Callable[[Path, Path], Iterator[api.Dataset]]
    options: Mapping[str, Any]
    training: Mapping[str, Any]
    budget: str
    prompts: tuple[str, ...]
    guidance: float = 2.0


def licensed(data: api.Dataset, name: str, license: str) -> api.Dataset:
    """Data with another name and license in their description."""
    spec = data.spec.replace(name=name, source=name, license=license)
    splits = {split: dataclasses.replace(records, spec=spec) for split, records in data.splits.items()}
    return dataclasses.replace(data, spec=spec, splits=splits)


def _emoji(named: Path, folder: Path) -> Iterator[api.Dataset]:
    """The folders of `recipes.pretrained.emoji`, all of them to train on: many things, and then the favorites."""
    reader = None
    for stage, favorites in enumerate((False, True)):
        pictures = folder / f"pictures-{stage}"
        emoji.write(named, pictures, favorites)
        options = f"size={emoji.SIDE},vocabulary=1024,longest=16,validation=0,test=0"
        found = licensed(api.load_data(f"{pictures}:{options}", reader=reader), "emoji", emoji.LICENSE)
        reader = found.spec.text
        yield found


def _portraits(_: Path, __: Path) -> Iterator[api.Dataset]:
    """The embedded set."""
    yield api.load_data("portraits")


SHORT = {  # of little time: the network says what a picture is, and most noise levels are those that hide details
    "conditional": True,
    "parametrization": "x0",
    "schedule": "edm",
    "times": "log-normal",
    "time_std": 1.5,
    "fold": 2,
    "lr": 3e-3,
    "guidance": 2.0,
    "steps": 20,
}
HOW = {"batch_size": 64, "compile": "auto", "auto": False, "clip": 1.0, "sheet_seconds": 120.0, "log_every": 100}
RECIPES = {
    "emoji": Recipe(
        _emoji,
        {**SHORT, "time_mean": -0.4, "widths": (64, 96), "blocks": (1, 2), "ema": 0.999, "variance": "beta"},
        HOW,
        "18min",
        (
            "red heart",
            "blue heart",
            "grinning face",
            "happy cat",
            "sad face crying",
            "smiling face with sunglasses",
            "red apple",
            "pizza",
            "frog",
            "pink flower",
            "dog face",
            "bear",
            "green circle",
            "lion",
            "birthday cake",
            "monkey",
        ),
    ),
    "portraits": Recipe(
        _portraits,
        {**SHORT, "time_mean": -0.7, "widths": (32, 48), "blocks": (1, 1), "ema": 0.999, "variance": "beta"},
        HOW,
        "9min",
        (
            "a person with dark skin, blond spiky hair, in a purple T-shirt",
            "a person with light skin, a black bun, in a red dress",
            "a person with brown skin, auburn spiky hair, a full beard, in a green shirt",
            "a person with a blond bun, in a yellow shirt",
            "a person with dark skin",
            "a person with auburn spiky hair",
        ),
    ),
}
