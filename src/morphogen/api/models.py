"""What there is to train, and what a trained model is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from morphogen import artifact
from morphogen.core import registry
from morphogen.core.errors import MorphogenError
from morphogen.core.family import Family
from morphogen.core.spec import Spec
from morphogen.testing.check_family import check_family as checks
from morphogen.training import Recipe

SHOWN = 20  # files that are not part of a model


def list_families() -> list[dict[str, Any]]:
    """All families: their names, summaries, capabilities and presets."""
    return [_describe(registry.family(name)) for name in registry.names()]


def describe_family(name: str) -> dict[str, Any]:
    """One family, with its options and those of training. Raises `UsageError` with the nearest names."""
    found = registry.family(name)
    return {**_describe(found), "options": _fields(found.Spec), "recipe": _fields(Recipe)}


def show(model: Path | str) -> dict[str, Any]:
    """What a model is, what it was trained on and how, and its evaluations; by what is stored, no network is built.

    `parameters` counts all real numbers among the stored weights. `used_as` is there for a model that serves to make
    another, which is of this family and has these options.
    """
    stored = artifact.describe(model)
    serving = stored.serving
    learned: dict[str, Any] = {"family": stored.kind.name, "options": stored.options.to_dict()}
    if serving is not stored:
        learned["used_as"] = {"family": serving.kind.name, "options": serving.options.to_dict()}
    return {
        "model": str(model),
        **learned,
        "capabilities": serving.capabilities,
        "parameters": serving.numbers,
        "data": stored.data.to_dict(),
        "recipe": stored.content.get("recipe", {}),
        "provenance": stored.content.get("provenance", {}),
        "evaluations": artifact.read_evaluations(model),
    }


def verify(model: Path | str) -> dict[str, Any]:
    """Check every file of a model against its manifest, and every weight. Raises `ArtifactError` naming what is wrong.

    `not part of it` names files that lie in the folder and that nothing lists: no verb reads them.
    """
    found = artifact.verified(model)
    facts = {"model": str(model), "family": found.family, "whole and unaltered": True}
    if not found.unlisted:
        return facts
    more = [f"and {len(found.unlisted) - SHOWN:,} more"] if len(found.unlisted) > SHOWN else []
    return {**facts, "not part of it": [*found.unlisted[:SHOWN], *more]}


def fingerprint(model: Path | str) -> str:
    """sha256 of all that a model's drawings depend on: what it is, its weights, its tokenizer and its parts.

    Evaluations and audits that are added later leave it as it is. Raises `ArtifactError` where there is no model.
    """
    listed = artifact.manifest.read(Path(model))
    drawn_from = [name for name in sorted(listed) if name.startswith(("spec.json", "weights.", "tokenizer.", "parts/"))]
    said = "\n".join(f"{listed[name].sha256} {name}" for name in drawn_from)
    return hashlib.sha256(said.encode()).hexdigest()


def check_family(name: str) -> dict[str, Any]:
    """Put a family to the tests that all families must pass; raises `MorphogenError` with those that failed."""
    found = checks(name)
    if found.failures:
        raise MorphogenError(str(found))
    return found.to_dict()


def _describe(family: type[Family]) -> dict[str, Any]:
    return {
        "name": family.name,
        "summary": family.summary,
        "capabilities": sorted(c.__name__ for c in family.capabilities),
        "presets": {name: dict(options) for name, options in family.presets.items()},
    }


def _fields(spec: type[Spec]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": str(getattr(field.annotation, "__name__", field.annotation))
            if isinstance(field.annotation, type)
            else str(field.annotation).replace("typing.", ""),
            "default": field.default,
            "description": field.description,
        }
        for name, field in spec.model_fields.items()
    ]
