"""The checkpoint: one safetensors file with everything that a run needs to continue. It is replaced as a whole.

Tensors have prefixes; all other facts are JSON in the file's metadata.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from torch import Tensor

from morphogen.artifact.files import temporary_for
from morphogen.artifact.weights import check_finite, read_all
from morphogen.artifact.weights import write as write_tensors
from morphogen.core.errors import ArtifactError, MorphogenError
from morphogen.core.printable import one_line
from morphogen.core.reading import parse_json
from morphogen.core.tensor_header import read_metadata

FORMAT = 1
NAME = "state.safetensors"
_TYPES = {"format": int, "step": int, "run": dict}  # types of the facts that other modules read


class CheckpointError(MorphogenError):
    """A checkpoint could not be written; the previous one stays."""


def write(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint in `folder`. Raises `CheckpointError` if it cannot; the previous one then stays."""
    metadata = {"state": json.dumps({"format": FORMAT, **facts})}
    try:
        write_tensors(folder / NAME, tensors, metadata)
    except OSError as error:
        kept = "The previous checkpoint is intact. " if (folder / NAME).exists() else ""
        raise CheckpointError(
            f"the checkpoint of step {facts.get('step')} could not be written to {folder} ({error})."
            f" {kept}Make room, or choose another place."
        ) from error


def prepare(folder: Path, samples: Path) -> None:
    """Make the folder; remove unfinished files of a killed run from it and from `samples`. Raises `MorphogenError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        leftovers = [f for f in folder.iterdir() if temporary_for(f.name) or fnmatch(f.name, ".*tmp*")]
        leftovers += [f for f in samples.glob(".*") if fnmatch(temporary_for(f.name) or "", "step-*.png")]
        leftovers += [f for f in samples.glob(".captions.txt*") if temporary_for(f.name) == "captions.txt"]
        for leftover in leftovers:
            shutil.rmtree(leftover) if leftover.is_dir() and not leftover.is_symlink() else leftover.unlink()
    except OSError as error:
        raise MorphogenError(f"{folder} cannot be written to ({error}). Choose another place.") from error


def discard(folder: Path) -> None:
    """Remove the folder of a run that has no checkpoint yet, and the run's folder if nothing else is in it."""
    with suppress(OSError):
        (folder / "log.jsonl").unlink(missing_ok=True)
        folder.rmdir()
        folder.parent.rmdir()


def exists(folder: Path) -> bool:
    """Whether `folder` holds a checkpoint."""
    return (folder / NAME).is_file()


def facts(folder: Path) -> dict[str, Any]:
    """The facts of the checkpoint in `folder`. Raises `ArtifactError` if it is damaged or newer."""
    try:
        metadata = read_metadata(folder / NAME)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from None
    return _facts(metadata, folder)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of the checkpoint in `folder`. Raises `ArtifactError` if it is damaged or newer."""
    try:
        tensors, metadata = read_all(folder / NAME)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from None
    for name, value in tensors.items():
        if name.startswith("weights/"):
            check_finite(name, value, folder / NAME)
    return tensors, _facts(metadata, folder)


def _facts(metadata: Mapping[str, str], folder: Path) -> dict[str, Any]:
    try:
        found = parse_json(metadata["state"])
        if not all(isinstance(found[name], kind) for name, kind in _TYPES.items()):
            raise ValueError("its facts are of the wrong types")
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from None
    if found["format"] > FORMAT:
        raise ArtifactError(f"{folder / NAME}: written by a newer morphogen; use that one to resume.")
    return dict(found)


def _unreadable(folder: Path, error: Exception) -> ArtifactError:
    said = one_line(str(error))
    return ArtifactError(f"{folder / NAME}: expected a checkpoint, got something unreadable ({said}).")


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors with the prefix `prefix/`, named without it."""
    return {n.removeprefix(prefix + "/"): t for n, t in tensors.items() if n.startswith(prefix + "/")}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with `prefix/` before their names."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}
