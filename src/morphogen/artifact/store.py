"""Save, load and describe families."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from morphogen.artifact import building, files, manifest, weights
from morphogen.artifact.card import card
from morphogen.artifact.folders import replacing_folder
from morphogen.artifact.locks import WAIT_S, locked
from morphogen.artifact.schemas import FORMAT, Stored, checked
from morphogen.artifact.snapshot import MANIFEST, Snapshot, taken
from morphogen.core import registry
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import ArtifactError, UsageError
from morphogen.core.family import Family
from morphogen.core.paths import without_folders
from morphogen.core.printable import one_line
from morphogen.core.spec import Spec
from morphogen.core.tensor_header import Header

SPEC = "spec.json"
WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"
SEQUENCE = "sequence.json"
MAX_TOKENIZER_BYTES = 64 << 20
MAX_DEPTH = 6  # parts of parts of parts ...
_SHOWN = 5  # problems

own_state = building.own_state


@dataclass(frozen=True)
class Artifact:
    """A loaded model: the family in evaluation mode without gradients, and what is known about it.

    `spec` is the content of spec.json, `provenance` the part of it on how the model came about.
    """

    path: Path
    family: Family
    spec: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Description:
    """What an artifact says of itself, without a network built: its family, options and data, all checked.

    content     spec.json as it is
    weights     the header of its weights
    parts       the models that it stands on
    """

    kind: type[Family]
    options: Spec
    data: DataSpec
    stored: Stored
    content: Mapping[str, Any]
    weights: Header
    parts: Mapping[str, Description]

    @property
    def serving(self) -> Description:
        """The description to use after loading: this one, or that of the part that it adapts."""
        return self if self.kind.deployed_part is None else self.parts[self.kind.deployed_part].serving

    @property
    def capabilities(self) -> list[str]:
        """The capabilities of the family under its options."""
        able = {c.__name__ for c in self.kind.capabilities}
        return sorted(able if self.stored.capabilities is None else able & set(self.stored.capabilities))

    @property
    def numbers(self) -> int:
        """How many real numbers its weights are, those of its parts included."""
        own = sum(math.prod(held.shape) for held in self.weights.tensors.values() if held.is_floating)
        return own + sum(part.numbers for part in self.parts.values())


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
        with locked(root, "writing", "saving a model", WAIT_S), replacing_folder(root) as new:
            _write(new, family, recipe, provenance, log, state)
    except OSError as error:
        raise ArtifactError(f"{path}: the model could not be written ({error}).") from error
    return Path(path)


def load(path: Path | str, device: torch.device | str = "cpu", verify: bool = True, as_part: bool = False) -> Artifact:
    """Read the artifact at `path`. No code in it is executed, and nothing is written.

    `verify` compares the hash of each file with the manifest first. `as_part` also takes what is no model by itself.

    Raises `ArtifactError` for a directory that is missing, truncated, changed, of a newer format or of an unknown
    family, and for weights that hold NaN.
    """
    with taken(path) as snapshot:
        if verify:
            check_whole(snapshot)
        found = described(snapshot, "", as_part)
        check_shapes(snapshot.root, found)
        family = _built(snapshot, "", found, device)
    return Artifact(Path(path), family, found.content, found.content.get("provenance", {}))


def describe(path: Path | str) -> Description:
    """Describe the artifact at `path` from its spec and the header of its weights. Raises `ArtifactError`."""
    with taken(path) as snapshot:
        check_whole(snapshot)
        found = described(snapshot, "", False)
        check_shapes(snapshot.root, found)
        return found


def check_whole(snapshot: Snapshot) -> None:
    """Raise `ArtifactError` that names what is missing or was changed."""
    if problems := problems_of(snapshot):
        refuse(snapshot.root, problems)


def refuse(root: Path, problems: Sequence[str]) -> NoReturn:
    """Raise `ArtifactError` with the first of the problems."""
    more = f" And {len(problems) - _SHOWN:,} more." if len(problems) > _SHOWN else ""
    shown = " ".join(problems[:_SHOWN])
    raise ArtifactError(f"{root} is damaged: {shown}{more} Fetch or train it again.")


def problems_of(snapshot: Snapshot) -> list[str]:
    """The missing and changed files, one sentence each."""
    problems = snapshot.problems()
    problems += [f"{name} is not listed in {MANIFEST}." for name in (SPEC, WEIGHTS) if name not in snapshot.entries]
    return problems


def described(snapshot: Snapshot, below: str, as_part: bool, depth: int = 0) -> Description:
    """The artifact under the prefix `below` of a snapshot."""
    where = snapshot.root / below
    stored, content = checked(Stored, str(where / SPEC), snapshot.data(below + SPEC))
    try:
        kind = registry.stored(stored.family) if as_part else registry.family(stored.family)
        options = kind.Spec.parse_stored(stored.spec)
        data = DataSpec.parse_stored(_with_tokenizers(snapshot, below, stored.data))
    except UsageError as error:
        only_part = not as_part and stored.family in registry.parts()
        said = f"{stored.family!r} is only a part of other models." if only_part else error
        written = one_line(stored.morphogen)
        raise ArtifactError(f"{where / SPEC} (written by morphogen {written}): {said}") from None
    with snapshot.stream(below + WEIGHTS) as file:
        held = weights.header(file, where / WEIGHTS)
    if depth >= MAX_DEPTH and stored.parts:
        raise ArtifactError(f"{where}: parts of parts lie more than {MAX_DEPTH} deep.")
    parts = {}
    for name, digest in stored.parts.items():
        inner = f"{below}parts/{name}/"
        entry = snapshot.entries.get(inner + MANIFEST)
        if entry is None or entry.sha256 != digest:
            raise ArtifactError(f"{snapshot.root / inner}: this is not the part that the model was built with.")
        parts[name] = described(snapshot, inner, True, depth + 1)
    return Description(kind, options, data, stored, content, held, parts)


def check_shapes(root: Path, found: Description) -> Family:
    """The model and its parts without memory. Raises `ArtifactError` unless all weights are those of spec.json."""
    parts = {name: check_shapes(root / "parts" / name, part) for name, part in found.parts.items()}
    return building.shapes(found.kind, found.options, found.data, parts, found.weights, root / WEIGHTS)


def stored_spec(snapshot: Snapshot) -> Mapping[str, Any]:
    """spec.json as it is, once its description of the data is known to be one."""
    stored, content = checked(Stored, str(snapshot.root / SPEC), snapshot.data(SPEC))
    try:
        DataSpec.parse_stored({**stored.data, "text": None, "sequence": None})
    except UsageError as error:
        raise ArtifactError(f"{snapshot.root / SPEC}: {error}") from None
    return content


def _built(snapshot: Snapshot, below: str, found: Description, device: torch.device | str) -> Family:
    where = snapshot.root / below / WEIGHTS
    parts = {name: _built(snapshot, f"{below}parts/{name}/", part, device) for name, part in found.parts.items()}
    family = building.build(found.kind, found.options, found.data, parts, where)
    with snapshot.stream(below + WEIGHTS) as file:
        weights.fill(own_state(family), file, found.weights, where)
    family = family.deployed()
    family.to(device).eval().requires_grad_(False)
    return family


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
        "capabilities": sorted(c.__name__ for c in family.capabilities),
        "data": {**family.data.to_dict(), "source": without_folders(family.data.source)},
        "recipe": dict(recipe),
        "provenance": without_folders(dict(provenance)),
        "parts": parts,
    }
    files.write_json(root / SPEC, spec)
    # the very bytes of the fingerprints
    if family.data.text is not None and family.data.text.tokenizer:
        (root / TOKENIZER).write_bytes(family.data.text.tokenizer.encode())
    if family.data.sequence is not None and family.data.sequence.definition:
        (root / SEQUENCE).write_bytes(family.data.sequence.definition.encode())
    weights.write(root / WEIGHTS, own_state(family) if state is None else state)
    if log is not None:
        shutil.copyfile(log, root / "log.jsonl")
    (root / "card.md").write_bytes(card(spec, []).encode())
    manifest.write(root)


def _with_tokenizers(snapshot: Snapshot, below: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of the data, whose captions and sequences get their tokenizers back. Raises `ArtifactError`."""
    found = dict(data)
    for field, file, key in (("text", TOKENIZER, "tokenizer"), ("sequence", SEQUENCE, "definition")):
        schema = data.get(field)
        if isinstance(schema, dict) and schema.get("fingerprint"):
            found[field] = {**schema, key: _tokenizer(snapshot, below + file)}
    return found


def _tokenizer(snapshot: Snapshot, name: str) -> str:
    """The text of a tokenizer's file. Raises `ArtifactError` if it is missing, or no text."""
    if name not in snapshot.entries:
        raise ArtifactError(f"{snapshot.root / name}: expected a tokenizer, and it is not listed in {MANIFEST}.")
    with snapshot.stream(name) as file:
        read = file.read(MAX_TOKENIZER_BYTES + 1)
    if len(read) > MAX_TOKENIZER_BYTES:
        raise ArtifactError(f"{snapshot.root / name}: a tokenizer has at most {MAX_TOKENIZER_BYTES:,} bytes.")
    try:
        return read.decode()
    except UnicodeDecodeError as error:
        where = snapshot.root / name
        raise ArtifactError(f"{where}: expected a tokenizer, got something unreadable ({error}).") from None
