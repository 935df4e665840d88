"""Save and load a family; add evaluations."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from morphogen.artifact import files
from morphogen.artifact.card import card
from morphogen.artifact.files import FORMAT, MANIFEST
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError, UsageError
from morphogen.core.family import Family
from morphogen.core.rng import Rng

WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Artifact:
    """A loaded model: the family in evaluation mode without gradients, and what is known about it.

    `spec` is the content of spec.json, `provenance` the part of it on how the model came about.
    """

    path: Path
    family: Family
    spec: Mapping[str, Any]
    provenance: Mapping[str, Any]


def save(
    path: Path | str,
    family: Family,
    *,
    recipe: Mapping[str, Any],
    provenance: Mapping[str, Any],
    log: Path | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write `family` as an artifact at `path`, in place of the one that may be there.

    `state` gives the weights by name (default: the family's own). Other files in `path`, such as
    `checkpoint/`, stay. Raises `ArtifactError` if it cannot be written; what was there then stays.
    """
    root = Path(path).resolve()
    try:
        new = files.build_directory(root)
        try:
            _write(new, family, recipe, provenance, log, state)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        files.swap(root)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path}: the model could not be written ({error}).") from error
    return Path(path)


def load(path: Path | str, device: torch.device | str = "cpu", verify: bool = True) -> Artifact:
    """Read the artifact at `path`. No code in it is executed.

    `verify` compares the hash of each file with the manifest first. Raises `ArtifactError` for a
    directory that is missing, truncated, changed, of a newer format or of an unknown family.
    """
    root = Path(path)
    files.recover(root.resolve())
    listed = files.read_manifest(root)
    if verify and (problems := files.verify(root)):
        raise ArtifactError(f"{root} is damaged: " + " ".join(problems) + " Fetch or train it again.")
    spec = files.read_json(root / "spec.json")
    files.check_format(root / "spec.json", spec)
    parts = {}
    for name, digest in spec.get("parts", {}).items():
        where = f"parts/{name}"
        if f"{where}/{MANIFEST}" not in listed or files.sha256(root / where / MANIFEST) != digest:
            raise ArtifactError(f"{root / where}: this is not the part that the model was built with.")
        parts[name] = load(root / where, device, verify=False).family  # covered by the outer manifest
    family = _build(root, spec, parts)
    _load_weights(root / WEIGHTS, family)
    family = family.deployed()
    family.to(device).eval().requires_grad_(False)
    return Artifact(root, family, spec, spec.get("provenance", {}))


def write_evaluation(path: Path | str, name: str, result: Mapping[str, Any]) -> Path:
    """Add the evaluation `name` to an artifact and to its card; returns the file.

    `result` is plain JSON. The same result again changes nothing. Raises `ArtifactError`.
    """
    root = Path(path)
    if not re.fullmatch(r"[\w-]+", name):
        raise ArtifactError(f"an evaluation's name is made of letters, digits, - and _ (got {name!r}).")
    files.recover(root.resolve())
    listed = files.read_manifest(root)
    try:
        content = json.dumps(result, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the evaluation {name!r} is no plain JSON ({error}).") from None
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    file = root / "evaluation" / f"{name}-{digest}.json"
    if file.relative_to(root).as_posix() in listed:
        return file
    file.parent.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    entry = {"name": name, "written": now, "result": result}
    files.write_json(file, entry)
    evaluations = [*read_evaluations(root), entry]
    files.commit(root, {"card.md": card(files.read_json(root / "spec.json"), evaluations)})
    return file


def read_evaluations(path: Path | str) -> list[dict[str, Any]]:
    """All evaluations of an artifact as {"name", "written", "result"}, the oldest first."""
    root = Path(path)
    files.recover(root.resolve())
    names = [n for n in files.read_manifest(root) if n.startswith("evaluation/")]
    return sorted((files.read_json(root / n) for n in names), key=lambda e: str(e["written"]))


def _write(
    root: Path,
    family: Family,
    recipe: Mapping[str, Any],
    provenance: Mapping[str, Any],
    log: Path | None,
    state: Mapping[str, Tensor] | None,
) -> None:
    parts = {}
    for name, part in family.parts.items():
        if not isinstance(part, Family):
            raise ArtifactError(f"part {name!r} is a {type(part).__name__}; only families can be stored as parts.")
        (root / "parts" / name).mkdir(parents=True)
        _write(root / "parts" / name, part, {}, {"part": name}, None, None)
        parts[name] = files.sha256(root / "parts" / name / MANIFEST)
    spec = {
        "format": FORMAT,
        "morphogen": version("morphogen"),
        "family": family.name,
        "spec": family.spec.to_dict(),
        "data": family.data.to_dict(),
        "recipe": dict(recipe),
        "provenance": dict(provenance),
        "parts": parts,
    }
    files.write_json(root / "spec.json", spec)
    if family.data.text is not None and family.data.text.tokenizer:
        (root / TOKENIZER).write_bytes(family.data.text.tokenizer.encode())  # the very bytes of the fingerprint
    save_file(distinct(own_state(family) if state is None else state), root / WEIGHTS)
    if log is not None:
        shutil.copyfile(log, root / "log.jsonl")
    (root / "card.md").write_text(card(spec, []), encoding="utf-8")
    files.commit(root, {})


def own_state(family: Family) -> dict[str, Tensor]:
    """The family's weights and buffers by name, without those of its parts."""
    return {name: value for name, value in family.state_dict().items() if family.owns(name)}


def distinct(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values as contiguous tensors on the CPU that share no memory, as the file format asks."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        value = tensor.detach().to("cpu").contiguous()
        memory = value.untyped_storage().data_ptr()
        result[name] = value.clone() if memory in seen or value._base is not None else value
        seen.add(memory)
    return result


def _build(root: Path, spec: Mapping[str, Any], parts: Mapping[str, Family]) -> Family:
    try:
        kind = registry.stored(spec["family"])
        options, data = kind.Spec.parse(spec["spec"]), DataSpec.parse(_with_tokenizer(root, spec["data"]))
    except KeyError as error:
        raise ArtifactError(f"{root / 'spec.json'}: {error} is missing.") from None
    except UsageError as error:
        written = spec.get("morphogen", "an unknown version")
        raise ArtifactError(f"{root / 'spec.json'} (written by morphogen {written}): {error}") from None
    with Rng(0).forked():
        return kind(options, data, parts)


def _with_tokenizer(root: Path, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of the data, whose captions get their tokenizer back. Raises `ArtifactError` if it is missing."""
    text = data.get("text")
    if not text or not text.get("fingerprint"):
        return data
    try:
        tokenizer = (root / TOKENIZER).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{root / TOKENIZER}: expected a tokenizer, got something unreadable ({error}).") from None
    return {**data, "text": {**text, "tokenizer": tokenizer}}


def _load_weights(file: Path, family: Family) -> None:
    try:
        stored = load_file(file)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{file}: expected weights, got something unreadable ({error}).") from None
    own = own_state(family)
    wrong = [f"{n} is missing" for n in own if n not in stored]
    wrong += [f"{n} is unknown" for n in stored if n not in own]
    wrong += [
        f"{n} has shape {tuple(stored[n].shape)}, expected {tuple(own[n].shape)}"
        for n in own
        if n in stored and stored[n].shape != own[n].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ArtifactError(f"{file} does not fit the model in spec.json: " + "; ".join(wrong[:5]) + more + ".")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(stored[name])
