"""A training by the recipe of a model that is there, on other records."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from morphogen.api.looping import training
from morphogen.api.opened import OpenModel
from morphogen.api.showing import shown_events
from morphogen.artifact import load
from morphogen.core.errors import MorphogenWarning, UsageError
from morphogen.core.privacy import PrivacyGuarantee
from morphogen.safeguards.privacy.reference_models import Retrain, Retrained, Retraining
from morphogen.trainer import Recipe

_NO_SHEETS = {"sheet_seconds": 1e9, "patience": None, "auto": False}


def retrainer(model: OpenModel, records: int, out: Path, progress: bool) -> Retrain:
    """What trains models by the recipe of `model`, each in a folder of its name below `out`.

    Each record is seen as often as the model has seen its own; `records` is their number if the model does not tell. A
    training that was interrupted goes on. Raises `UsageError` for a model whose recipe is not stored.
    """
    stored, steps = model.stored, model.provenance.get("steps")
    if not stored.get("recipe") or not isinstance(steps, int):
        raise UsageError(
            f"{model.path} does not tell how it was trained, so no model can be trained like it: leave out reference"
            " models and canaries, or audit a model that `train` has made."
        )
    recipe = {name: value for name, value in stored["recipe"].items() if name in Recipe.model_fields}
    passes = steps / (model.data.splits.get("train") or records)
    parts = {name: model.path / "parts" / name for name in stored.get("parts", {})}

    def retrain(asked: Retraining) -> Retrained:
        count = len(asked.dataset.train)
        length: dict[str, Any] = {"budget": None, "epochs": None, "steps": max(1, round(passes * count))}
        size = {"batch_size": _fitting(recipe["batch_size"], recipe.get("accumulate", 1), count)}
        folder = out / asked.name
        events = training(
            stored["family"],
            asked.dataset,
            folder,
            resume=True,
            parts=parts,
            options=stored["spec"],
            recipe={**recipe, **_NO_SHEETS, **length, **size, "seed": asked.seed, "device": str(model.device)},
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MorphogenWarning)  # they are about models that nobody uses
            for _ in shown_events(events, asked.name, progress):
                pass
        found = load(folder, model.device)
        return Retrained(found.family, PrivacyGuarantee.stored(found.provenance))

    return retrain


def _fitting(batch_size: int, parts: int, records: int) -> int:
    """The batch size, or the largest one below it that so few records allow."""
    return batch_size if batch_size <= records else max(1, records // parts) * parts
