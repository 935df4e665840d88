"""What `compare` compares: models that are held, and files of samples."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from morphogen.api.opened import AnyModel, OpenModel, open_model
from morphogen.core.errors import UsageError
from morphogen.data import load
from morphogen.data.in_memory import AnyData
from morphogen.data.samples import Samples, load_samples
from morphogen.evaluation import make_reference
from morphogen.evaluation.context.reference import Reference
from morphogen.evaluation.evaluation import draw

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


def common(opened: Mapping[str, OpenModel]) -> OpenModel:
    """The model whose preparation the others' pictures are brought to: that of the smallest pictures."""
    return min(opened.values(), key=lambda one: one.data.dimensions)


def at_common(one: OpenModel, to: OpenModel, data: AnyData, reference: Reference) -> Samples:
    """What a model of other pictures draws, brought to the preparation of `to`, with a note that says so.

    It draws as many as the reference has, under the conditions of the same records.
    """
    own = load(data, like=one.data)
    mine = make_reference(own, split=reference.split, n=min(reference.n, len(own.train)), seed=reference.seed)
    assert isinstance(mine, Reference)  # of pictures
    found = load_samples(draw(one.module, mine).judged.permute(0, 2, 3, 1).numpy(), to.data)
    theirs, ours = (" x ".join(map(str, model.data.shape)) for model in (one, to))
    return replace(found, notes=(f"its pictures of {theirs} are compared at {ours}, as {to.path} has them",))


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
        if one.data.is_picture and first.data.is_picture and one.data.levels and first.data.levels:
            continue  # at a common preparation
        if (one.data.shape, one.data.kind, one.data.levels) != (first.data.shape, first.data.kind, first.data.levels):
            raise UsageError(
                f"{name} models {one.data.kind} records of shape {one.data.shape}, {first.path} {first.data.kind} ones"
                f" of shape {first.data.shape}: only models of the same kind of records can be compared."
            )
    return held
