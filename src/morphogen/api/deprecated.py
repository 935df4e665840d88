"""Names of an earlier version, for one version more: each does what it did, and warns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from morphogen import artifact, data
from morphogen.api.description import describe
from morphogen.api.results import Pictures as Drawing
from morphogen.trainer.distributed import resolve_device

INSTEAD = {"Drawing": "Pictures", "inspect": "inspect_data", "load_model": "load", "show": "describe"}
__all__ = ["INSTEAD", "Drawing", "inspect", "load_model", "show"]


def load_model(model: Path | str, device: str = "cpu") -> artifact.Artifact:
    """An artifact, with the family as `.family`. Use `morphogen.load`, whose model has it as `.module`."""
    return artifact.load(model, resolve_device(device))


def inspect(source: str) -> data.Inspection:
    """Use `morphogen.inspect_data`."""
    return data.inspect(source)


def show(model: Path | str) -> dict[str, Any]:
    """Use `morphogen.describe`."""
    return describe(model).to_dict()
