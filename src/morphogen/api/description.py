"""What a model directory says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from morphogen import artifact
from morphogen.api.opened import OpenModel, path_of, so_far
from morphogen.core.privacy import PrivacyGuarantee
from morphogen.report.html import escape
from morphogen.report.saving import chosen_format, json_file, write_whole


@final
@dataclass(frozen=True)
class Description:
    """What a model directory says of itself.

    Attributes:
        facts: family, options, capabilities, parameters, data, recipe, provenance, privacy, evaluations and
            audits, as plain JSON types

    Example:
        >>> mg.describe("runs/first")["capabilities"]
    """

    facts: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    @property
    def privacy(self) -> PrivacyGuarantee | None:
        """The guarantee of a private training; None for other models."""
        found = self.facts["privacy"]
        return None if found is None else PrivacyGuarantee.stored({"privacy": _without_sentence(found)})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dict(self.facts)

    def save(self, path: Path | str) -> Path:
        """Write it as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, json_file(self.to_dict()))

    def _repr_html_(self) -> str:
        shown = ("family", "capabilities", "parameters")
        rows = "".join(f"<tr><th>{name}</th><td>{escape(str(self.facts[name]))}</td></tr>" for name in shown)
        return f"<table><tr><th>model</th><td>{escape(str(self.facts['model']))}</td></tr>{rows}</table>"


def _without_sentence(privacy: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in privacy.items() if name != "sentence"}


def describe(model: OpenModel | Path | str) -> Description:
    """Describe a model by what is stored: no network is built.

    Args:
        model: a held model, or the path of a model directory.

    Returns:
        What it is, what it was trained on and how, its evaluations and audits. `parameters` counts all real numbers
        among the stored weights. `used_as` is there for a model that serves to make another, which is of this family
        and has these options. `privacy` is the guarantee of a private training, with epsilon, delta, unit, accountant
        and a sentence, or None.

    Raises:
        ArtifactError: the directory is missing, damaged, altered or of a newer format.

    Example:
        >>> mg.describe("runs/first")["family"]
        'vae'
    """
    where = so_far(path_of(model))
    stored = artifact.describe(where)
    serving = stored.serving
    provenance = stored.content.get("provenance", {})
    promise = PrivacyGuarantee.stored(provenance)
    learned: dict[str, Any] = {"family": stored.kind.name, "options": stored.options.to_dict()}
    if serving is not stored:
        learned["used_as"] = {"family": serving.kind.name, "options": serving.options.to_dict()}
    return Description(
        {
            "model": str(where),
            **learned,
            "capabilities": serving.capabilities,
            "parameters": serving.numbers,
            "data": stored.data.to_dict(),
            "recipe": stored.content.get("recipe", {}),
            "provenance": {name: value for name, value in provenance.items() if name != "privacy"},
            "privacy": None if promise is None else {**promise.to_dict(), "sentence": promise.sentence()},
            "evaluations": artifact.read_evaluations(where),
            "audits": artifact.read_audits(where),
        }
    )
