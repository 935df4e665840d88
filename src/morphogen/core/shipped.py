"""The models that the package holds, each an artifact that goes by its name: `recipes/pretrained` trains them.

A folder or file of that name in the working directory comes first; `./emoji` never means the model of the package.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

FOLDER = Path(str(files("morphogen") / "artifact" / "pretrained"))


def names() -> list[str]:
    """The names of the models of the package."""
    return sorted(path.parent.name for path in FOLDER.glob("*/manifest.json"))


def located(model: Path | str) -> Path:
    """The folder of the model of the package that goes by this name; any other path as it is."""
    name = str(model)
    return FOLDER / name if name in names() and not os.path.lexists(name) else Path(model)


def is_shipped(path: Path) -> bool:
    """Whether this is the folder of a model of the package, which nothing changes."""
    return path.resolve().parent == FOLDER.resolve()
