"""A model as a verb holds it: found before anything heavy is imported, then loaded once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from morphogen.core.errors import ArtifactError
from morphogen.core.printable import one_line
from morphogen.core.shipped import located, names

if TYPE_CHECKING:
    from morphogen.api import Model


def hold(model: Path, device: str = "auto", threads: int | None = None) -> Model:
    """The model in a directory, on `device`. Raises `ArtifactError`."""
    require_folder(model)
    limit_threads(threads)
    from morphogen import api

    return api.load(model, device)


def require_folder(model: Path) -> None:
    """Raise `ArtifactError` where there is neither a model nor what a killed writer has left beside its place."""
    with suppress(OSError, ValueError):
        left = f".{model.name}.morphogen-"
        if not os.path.lexists(located(model)) and not any(name.startswith(left) for name in _names(model.parent)):
            packaged = " or ".join(names())
            raise ArtifactError(
                f"{one_line(str(model))}: no such model directory; give one that a training has made, or {packaged} of"
                " the package."
            )


def limit_threads(threads: int | None) -> None:
    """Let one operation use so many threads of the processor; None leaves it as it is."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
