"""Whether an artifact is as it was written: every file, every part, every number; no network is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from morphogen.artifact import manifest, store, weights
from morphogen.artifact.evaluations import AUDITS, EVALUATIONS
from morphogen.artifact.schemas import Evaluation, Manifest, checked
from morphogen.artifact.snapshot import MANIFEST, Snapshot, taken
from morphogen.artifact.store import Description
from morphogen.core.errors import ArtifactError


@dataclass(frozen=True)
class Verified:
    """A sound artifact: of which family, what lies in its folder and is not listed, and so not part of it."""

    family: str
    unlisted: list[str]


def verify(path: Path | str) -> list[str]:
    """The problems of an artifact, one sentence each, empty if it is sound.

    Sizes and hashes of all files are compared with the manifest, and those of parts with their own manifests too.
    Raises `ArtifactError` if there is no manifest to compare with.
    """
    with taken(path) as snapshot:
        return _problems(snapshot)


def verified(path: Path | str) -> Verified:
    """Compare all files with the manifests, read what they say, and look at all weights.

    Raises `ArtifactError` that names what is wrong.
    """
    with taken(path) as snapshot:
        if problems := _problems(snapshot):
            store.refuse(snapshot.root, problems)
        described = store.described(snapshot, "", False)
        for name in snapshot.entries:
            if name.startswith((EVALUATIONS, AUDITS)) and name.endswith(".json"):
                checked(Evaluation, str(snapshot.root / name), snapshot.data(name))
        store.check_shapes(snapshot.root, described)
        _look(snapshot, "", described)
        unlisted = [name for name in manifest.found(snapshot.root) if name not in snapshot.entries and name != MANIFEST]
        return Verified(described.stored.family, unlisted)


def _problems(snapshot: Snapshot) -> list[str]:
    problems = store.problems_of(snapshot)
    bad = {problem.partition(" ")[0] for problem in problems}
    for name in snapshot.entries:
        if not name.startswith("parts/") or not name.endswith("/" + MANIFEST) or name in bad:
            continue
        below = name.removesuffix(MANIFEST)
        try:
            own = checked(Manifest, name, snapshot.data(name))[0].files
        except ArtifactError as error:
            problems.append(str(error))
            continue
        for inner, entry in own.items():
            if snapshot.entries.get(below + inner) != entry:
                problems.append(f"{below + inner} is not what {name} lists.")
    return problems


def _look(snapshot: Snapshot, below: str, described: Description) -> None:
    where = snapshot.root / below / store.WEIGHTS
    with snapshot.stream(below + store.WEIGHTS) as file:
        for name, value in weights.read(file, described.weights, where):
            weights.check_finite(name, value, where)
    for name, part in described.parts.items():
        _look(snapshot, f"{below}parts/{name}/", part)
