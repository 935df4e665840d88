"""`Model`: a model one holds, with the functions of the API as its methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from morphogen import artifact
from morphogen.api import editing, explaining, judging, latents, sampling
from morphogen.api.opened import OpenModel, fingerprint_of, open_model
from morphogen.report.html import escape
from morphogen.report.saving import as_json, chosen_format, write_whole

SHOWN = 20  # files that are not part of a model


@final
class Model(OpenModel):
    """A model in memory, verified once, with everything that can be done with it.

    `model.sample(16, seed=1)` is `mg.sample(model, 16, seed=1)`, and so for each method. `model.module` is the plain
    `torch.nn.Module`.
    """

    sample = sampling.sample
    walk = sampling.walk
    draw = sampling.draw
    edit = editing.edit
    upscale = editing.upscale
    restore = editing.restore
    reconstruct = latents.reconstruct
    encode = latents.encode
    interpolate = latents.interpolate
    levels = latents.levels
    manifold = latents.manifold
    directions = latents.directions
    edit_latent = latents.edit_latent
    forward_chain = explaining.forward_chain
    reverse_chain = explaining.reverse_chain
    variances = explaining.variances
    attention_maps = explaining.attention_maps
    evaluate = judging.evaluate
    evaluate_alignment = judging.evaluate_alignment
    alignment_curve = judging.alignment_curve

    def describe(self) -> Description:
        """What it is, what it was trained on and how, and its evaluations; see `mg.describe`."""
        return describe(self.path)

    def __repr__(self) -> str:
        return f"Model({str(self.path)!r}, {self.family!r}, {self.data.name!r}, on {self.device})"

    def _repr_html_(self) -> str:
        size = " x ".join(map(str, self.data.shape))
        return (
            f"<p><b>{escape(self.family)}</b> of {escape(self.data.name)} ({size}),"
            f" {sum(p.numel() for p in self.module.parameters()):,} parameters, at {escape(str(self.path))}</p>"
        )


def load(model: Path | str, device: str = "auto") -> Model:
    """Load a model, once, to be held and used.

    Args:
        model: the path of a model directory.
        device: "cpu", "cuda", "cuda:N", or "auto": a GPU where there is one.

    Returns:
        The model, verified, in evaluation mode and without gradients. No code in the directory is executed.

    Raises:
        ArtifactError: the directory is missing, damaged, altered or of a newer format.

    Example:
        >>> model = mg.load("runs/first")
        >>> model.sample(4, seed=1).save("four.png")
    """
    held = open_model(model, device)
    return Model(held.path, held.module, held.stored, held.fingerprint)


@final
@dataclass(frozen=True)
class Description:
    """What a model directory says of itself.

    facts  family, options, capabilities, parameters, data, recipe, provenance and evaluations, as plain JSON types
    """

    facts: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.facts[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dict(self.facts)

    def save(self, path: Path | str) -> Path:
        """Write it as .json. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".json",))
        return write_whole(path, as_json(self.to_dict()))

    def _repr_html_(self) -> str:
        shown = ("family", "capabilities", "parameters")
        rows = "".join(f"<tr><th>{name}</th><td>{escape(str(self.facts[name]))}</td></tr>" for name in shown)
        return f"<table><tr><th>model</th><td>{escape(str(self.facts['model']))}</td></tr>{rows}</table>"


@final
@dataclass(frozen=True)
class Verification:
    """A model directory that is whole and unaltered.

    unlisted  files that lie in the folder and that nothing lists: no function reads them
    """

    model: str
    family: str
    unlisted: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; at most 20 files of those that are not part of it."""
        facts = {"model": self.model, "family": self.family, "whole and unaltered": True}
        if not self.unlisted:
            return facts
        more = [f"and {len(self.unlisted) - SHOWN:,} more"] if len(self.unlisted) > SHOWN else []
        return {**facts, "not part of it": [*self.unlisted[:SHOWN], *more]}


def describe(model: OpenModel | Path | str) -> Description:
    """Describe a model by what is stored: no network is built.

    Args:
        model: a held model, or the path of a model directory.

    Returns:
        What it is, what it was trained on and how, and its evaluations. `parameters` counts all real numbers among the
        stored weights. `used_as` is there for a model that serves to make another, which is of this family and has
        these options.

    Raises:
        ArtifactError: the directory is missing, damaged, altered or of a newer format.

    Example:
        >>> mg.describe("runs/first")["family"]
        'vae'
    """
    where = _path_of(model)
    stored = artifact.describe(where)
    serving = stored.serving
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
            "provenance": stored.content.get("provenance", {}),
            "evaluations": artifact.read_evaluations(where),
        }
    )


def verify(model: OpenModel | Path | str) -> Verification:
    """Check every file of a model against its manifest, and every weight.

    Args:
        model: a held model, or the path of a model directory.

    Returns:
        Its family, and the files in the folder that are no part of it.

    Raises:
        ArtifactError: something is missing, altered or no number; the message names it.

    Example:
        >>> mg.verify("runs/first").family
        'vae'
    """
    where = _path_of(model)
    found = artifact.verified(where)
    return Verification(str(where), found.family, tuple(found.unlisted))


def fingerprint(model: OpenModel | Path | str) -> str:
    """The sha256 of all that a model's drawings depend on: what it is, its weights, its tokenizer and its parts.

    Args:
        model: a held model, or the path of a model directory.

    Returns:
        64 hexadecimal digits. Evaluations and audits that are added later leave them as they are.

    Raises:
        ArtifactError: there is no model.

    Example:
        >>> len(mg.fingerprint("runs/first"))
        64
    """
    return model.fingerprint if isinstance(model, OpenModel) else fingerprint_of(model)


def _path_of(model: OpenModel | Path | str) -> Path:
    return model.path if isinstance(model, OpenModel) else Path(model)
