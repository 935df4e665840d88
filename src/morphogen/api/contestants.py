"""What `compare` compares: models that are held, and files of samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.core.errors import UsageError

FILES = (".npz", ".csv", ".parquet")  # of samples


def are_samples(path: AnyModel) -> bool:
    """Whether a path holds samples: a file of arrays or rows, or a folder that is no model."""
    if isinstance(path, OpenModel):
        return False
    try:
        if os.path.isfile(path):
            return Path(path).suffix.lower() in FILES
        names = os.listdir(path)
    except (OSError, ValueError):  # the error of a model that is missing says more
        return False
    return bool(names) and not {"spec.json", "manifest.json", "checkpoint"} & set(names)


def by_name(models: Sequence[AnyModel], device: str | None) -> dict[str, OpenModel | str]:
    """Held models and the paths of samples, by their paths.

    Raises `UsageError` for those that cannot be compared.
    """
    held: dict[str, OpenModel | str] = {}
    for model in models:
        one = str(model) if are_samples(model) else open_model(model, device)
        name = one if isinstance(one, str) else str(one.path)
        if name in held:
            raise UsageError(
                f"{'a set of samples' if isinstance(one, str) else 'a model'} is given twice: name each once."
            )
        held[name] = one
    if not held:
        raise UsageError("there is no model to measure: name one at least.")
    opened = {name: one for name, one in held.items() if isinstance(one, OpenModel)}
    for name, one in opened.items():
        first = next(iter(opened.values()))
        if (one.data.shape, one.data.kind, one.data.levels) != (first.data.shape, first.data.kind, first.data.levels):
            raise UsageError(
                f"{name} models {one.data.kind} records of shape {one.data.shape}, {first.path} {first.data.kind} ones"
                f" of shape {first.data.shape}: only models of the same kind of records can be compared."
            )
    return held
