"""All that a run needs to go on, in one safetensors file that is replaced as a whole.

Tensors under prefixes; the rest as JSON in the file's metadata.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from morphogen.artifact import replacing
from morphogen.artifact.store import distinct
from morphogen.core.errors import ArtifactError, MorphogenError

FORMAT = 1
NAME = "state.safetensors"


class CheckpointError(MorphogenError):
    """A checkpoint that could not be written; the previous one stays."""


def write(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint in `folder`. Raises `CheckpointError` if it cannot; the previous one then stays."""
    metadata = {"state": json.dumps({"format": FORMAT, **facts})}
    try:
        with replacing(folder / NAME) as temporary:
            save_file(distinct(tensors), temporary, metadata)
    except (OSError, SafetensorError) as error:
        kept = "The previous checkpoint is intact. " if (folder / NAME).exists() else ""
        raise CheckpointError(
            f"the checkpoint of step {facts.get('step')} could not be written to {folder} ({error})."
            f" {kept}Make room, or choose another place."
        ) from error


def prepare(folder: Path, samples: Path) -> None:
    """Make the folder, and remove what a killed writer left in it and in `samples`. Raises `MorphogenError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ours = (".*tmp*",)  # and those that safetensors writes to
        leftovers = [file for pattern in ours for file in folder.glob(pattern)]
        leftovers += [file for pattern in (".step-*tmp*", ".captions.txt*tmp*") for file in samples.glob(pattern)]
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
    with _opened(folder) as file:
        return _facts(file, folder)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of the checkpoint in `folder`. Raises `ArtifactError` if it is damaged or newer."""
    with _opened(folder) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, _facts(file, folder)  # noqa: SIM118 - no dict


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    try:
        with safe_open(folder / NAME, framework="pt") as file:
            yield file
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise ArtifactError(f"{folder / NAME}: expected a checkpoint, got something unreadable ({error}).") from None


def _facts(file: Any, folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((file.metadata() or {})["state"])
    if facts.get("format", 0) > FORMAT:
        raise ArtifactError(f"{folder / NAME}: written by a newer morphogen; use that one to resume.")
    return facts


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors below `prefix/`, without it."""
    return {n.removeprefix(prefix + "/"): t for n, t in tensors.items() if n.startswith(prefix + "/")}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with `prefix/` before their names."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}
