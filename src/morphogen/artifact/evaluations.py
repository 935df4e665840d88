"""Add results to an artifact: evaluations and audits.

Each result is a separate file, listed in the manifest and in the card.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from morphogen.artifact import folders, manifest, store
from morphogen.artifact.card import card
from morphogen.artifact.files import json_bytes
from morphogen.artifact.locks import WAIT_S, locked
from morphogen.artifact.schemas import Evaluation, checked
from morphogen.artifact.snapshot import Snapshot, taken
from morphogen.core.errors import ArtifactError
from morphogen.core.paths import without_folders
from morphogen.core.shipped import is_shipped

EVALUATIONS, AUDITS = "evaluation/", "audit/"
_NAMES = {EVALUATIONS: "evaluation", AUDITS: "audit"}


def write_evaluation(path: Path | str, name: str, result: Mapping[str, Any]) -> Path:
    """Add the evaluation `name` to an artifact and to its card; returns the file.

    `result` is plain JSON. The same result again changes nothing. Raises `ArtifactError`.
    """
    return _write(Path(path), EVALUATIONS, name, result)


def write_audit(path: Path | str, name: str, result: Mapping[str, Any]) -> Path:
    """Add the result `name` of an audit to an artifact and to its card, as `write_evaluation` does."""
    return _write(Path(path), AUDITS, name, result)


def read_evaluations(path: Path | str) -> list[dict[str, Any]]:
    """All evaluations of an artifact as {"name", "written", "result"}, the oldest first."""
    with taken(path) as snapshot:
        return _entries(snapshot, EVALUATIONS)


def read_audits(path: Path | str) -> list[dict[str, Any]]:
    """All results of audits of an artifact, as `read_evaluations` gives evaluations."""
    with taken(path) as snapshot:
        return _entries(snapshot, AUDITS)


def _write(root: Path, folder: str, name: str, result: Mapping[str, Any]) -> Path:
    what = _NAMES[folder]
    if is_shipped(root):
        raise ArtifactError(f"{root.name}, a model of the package, keeps no numbers: copy its folder to add some.")
    if not re.fullmatch(r"[\w-]{1,100}", name):
        raise ArtifactError(f"the name of an {what} is made of letters, digits, - and _ (got {name!r}).")
    result = {name: without_folders(value) if name == "data" else value for name, value in result.items()}
    try:
        content = json.dumps(result, sort_keys=True, allow_nan=False)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        entry = {"name": name, "written": now, "result": result}
        data = json_bytes(entry)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the {what} {name!r} is no plain JSON ({error}).") from None
    checked(Evaluation, f"the {what} {name!r}", data)
    listed_as = f"{folder}{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"
    with taken(root):  # check that it exists: a lock without an artifact would stay
        pass
    target = root.resolve()
    try:
        with locked(target, "writing", f"adding an {what}", WAIT_S):
            folders.recover(target)
            with taken(target) as snapshot:
                if listed_as in snapshot.entries:
                    return root / listed_as
                spec = store.stored_spec(snapshot)
                known = {each: _entries(snapshot, each) for each in _NAMES}
                text = card(spec, *([*known[each], *([entry] if each == folder else [])] for each in _NAMES))
            manifest.commit(target, {listed_as: data, "card.md": text.encode()})
    except OSError as error:
        raise ArtifactError(f"{root}: the {what} could not be added ({error}).") from error
    return root / listed_as


def _entries(snapshot: Snapshot, folder: str) -> list[dict[str, Any]]:
    names = [n for n in snapshot.entries if n.startswith(folder) and n.endswith(".json")]
    found = [checked(Evaluation, str(snapshot.root / n), snapshot.data(n))[1] for n in names]
    return sorted(found, key=lambda e: str(e["written"]))
