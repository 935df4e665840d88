"""Add results to an artifact. Each result is a separate file, listed in the manifest and in the card."""

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

FOLDER = "evaluation/"


def write_evaluation(path: Path | str, name: str, result: Mapping[str, Any]) -> Path:
    """Add the evaluation `name` to an artifact and to its card; returns the file.

    `result` is plain JSON. The same result again changes nothing. Raises `ArtifactError`.
    """
    root = Path(path)
    if not re.fullmatch(r"[\w-]{1,100}", name):
        raise ArtifactError(f"an evaluation's name is made of letters, digits, - and _ (got {name!r}).")
    result = {name: without_folders(value) if name == "data" else value for name, value in result.items()}
    try:
        content = json.dumps(result, sort_keys=True, allow_nan=False)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        entry = {"name": name, "written": now, "result": result}
        data = json_bytes(entry)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"the evaluation {name!r} is no plain JSON ({error}).") from None
    checked(Evaluation, f"the evaluation {name!r}", data)
    listed_as = f"{FOLDER}{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}.json"
    with taken(root):  # check that it exists: a lock without an artifact would stay
        pass
    target = root.resolve()
    try:
        with locked(target, "writing", "adding an evaluation", WAIT_S):
            folders.recover(target)
            with taken(target) as snapshot:
                if listed_as in snapshot.entries:
                    return root / listed_as
                spec = store.stored_spec(snapshot)
                text = card(spec, [*_evaluations(snapshot), entry])
            manifest.commit(target, {listed_as: data, "card.md": text.encode()})
    except OSError as error:
        raise ArtifactError(f"{path}: the evaluation could not be added ({error}).") from error
    return root / listed_as


def read_evaluations(path: Path | str) -> list[dict[str, Any]]:
    """All evaluations of an artifact as {"name", "written", "result"}, the oldest first."""
    with taken(path) as snapshot:
        return _evaluations(snapshot)


def _evaluations(snapshot: Snapshot) -> list[dict[str, Any]]:
    names = [n for n in snapshot.entries if n.startswith(FOLDER) and n.endswith(".json")]
    found = [checked(Evaluation, str(snapshot.root / n), snapshot.data(n))[1] for n in names]
    return sorted(found, key=lambda e: str(e["written"]))
