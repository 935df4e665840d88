"""A model that is held: read and verified once, used as often as one likes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from morphogen import artifact
from morphogen.core.data_spec import DataSpec
from morphogen.core.family import Family
from morphogen.core.shipped import located
from morphogen.trainer.distributed import resolve_device
from morphogen.trainer.snapshots import LAST


@dataclass(frozen=True, eq=False)
class OpenModel:
    """What every function of the API works with: a model in memory, and what is known about it.

    path         where it was read from
    module       the model itself, a `torch.nn.Module` in evaluation mode and without gradients
    stored       the content of its spec.json
    fingerprint  sha256 of all that its drawings depend on
    """

    path: Path
    module: Family
    stored: Mapping[str, Any]
    fingerprint: str

    @property
    def family(self) -> str:
        """The name of its family."""
        return self.module.name

    @property
    def data(self) -> DataSpec:
        """What its records are."""
        return self.module.data

    @property
    def provenance(self) -> Mapping[str, Any]:
        """How it came about: data, duration, hardware, versions."""
        provenance: Mapping[str, Any] = self.stored.get("provenance", {})
        return provenance

    @property
    def weights_hash(self) -> str:
        """The sha256 of its weights."""
        return artifact.manifest.read(self.path)["weights.safetensors"].sha256

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.module.device


AnyModel = OpenModel | Path | str


def open_model(model: AnyModel, device: str | None = None) -> OpenModel:
    """A model that is held as it is, or the one in a directory, verified.

    Args:
        model: a held model, the path of a model directory, or the name of a model of the package.
        device: "cpu", "cuda", "cuda:N" or "auto", to which a held model moves. None leaves it where it is, and is
            "auto" for a path.

    Raises:
        ArtifactError: the directory is missing, damaged, altered or of a newer format.
        SpecError: there is no such device.
    """
    if isinstance(model, OpenModel):
        if device is not None:
            model.module.to(resolve_device(device))
        return model
    place = so_far(located(model))
    loaded = artifact.load(place, resolve_device(device or "auto"))
    return OpenModel(place, loaded.family, loaded.spec, fingerprint_of(place))


def so_far(model: Path) -> Path:
    """Where a model lies: for a training that runs, what it has kept last."""
    kept = model / "checkpoint" / LAST
    return kept if not (model / artifact.MANIFEST).exists() and (kept / artifact.MANIFEST).exists() else model


def fingerprint_of(model: Path | str) -> str:
    """sha256 of all that a model's drawings depend on: what it is, its weights, its tokenizer and its parts.

    Evaluations and audits that are added later leave it as it is. Raises `ArtifactError` where there is no model.
    """
    listed = artifact.manifest.read(located(model))
    drawn_from = [name for name in sorted(listed) if name.startswith(("spec.json", "weights.", "tokenizer.", "parts/"))]
    said = "\n".join(f"{listed[name].sha256} {name}" for name in drawn_from)
    return hashlib.sha256(said.encode()).hexdigest()


def path_of(model: AnyModel) -> Path:
    """Where a model lies."""
    return model.path if isinstance(model, OpenModel) else located(model)
