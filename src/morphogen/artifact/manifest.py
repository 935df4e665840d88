"""manifest.json: size and hash of each file of an artifact, written last.

Files change together with the manifest that hashes them (`commit`): the new ones wait under temporary names, the
manifest is replaced in one step, and then they take their places. Readers find them in either place; the next writer
ends what a kill has cut short (`settle`). Only the holder of the lock "writing" calls what writes here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from morphogen.artifact import files
from morphogen.artifact.locks import INSIDE
from morphogen.artifact.schemas import FORMAT, Entry, Manifest, checked
from morphogen.artifact.snapshot import MANIFEST, MAX_MANIFEST_BYTES, check_inside, reason
from morphogen.artifact.unfinished import explained
from morphogen.core.errors import ArtifactError
from morphogen.core.reading import read_bytes

MARKER = ".morphogen-replacing.json"  # in a folder that takes another's place
APART = ("checkpoint", "samples")  # of a training, beside the artifact and no part of it


def read(root: Path) -> dict[str, Entry]:
    """Name -> size and hash of each file. Raises `ArtifactError` if there is none, or it lists files outside `root`."""
    try:
        data = read_bytes(root / MANIFEST, MAX_MANIFEST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(explained(root).said) from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{root / MANIFEST} cannot be read ({reason(error)}).") from None
    listed = checked(Manifest, str(root / MANIFEST), data)[0].files
    inside = os.path.realpath(root)
    for name in listed:
        check_inside(root, inside, name)
    return listed


def write(root: Path) -> None:
    """List all files in the new folder `root`."""
    listed = {}
    for name in found(root):
        if name != MANIFEST:
            files.sync(root / name)
            listed[name] = Entry(bytes=(root / name).stat().st_size, sha256=files.sha256(root / name))
    _write(root, listed)


def commit(root: Path, changed: Mapping[str, bytes]) -> None:
    """Write files, name -> content, and list them, so that the artifact holds all of them or none."""
    listed = read(root)
    waiting = {}
    try:
        for name, data in changed.items():
            (root / name).parent.mkdir(exist_ok=True)
            waiting[name] = files.temporary(root / name)
            waiting[name].write_bytes(data)
            files.sync(waiting[name])
            listed[name] = Entry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        _write(root, listed)
    except Exception:
        for sibling in waiting.values():
            sibling.unlink(missing_ok=True)
        raise
    for name, sibling in waiting.items():
        os.replace(sibling, root / name)
        files.sync((root / name).parent)


def settle(root: Path) -> None:
    """Finish an interrupted `commit`: waiting files that are listed take their places, and the others are removed."""
    if not (root / MANIFEST).is_file():
        return
    listed = read(root)
    for folder in (root, root / "evaluation", root / "audit"):
        if not folder.is_dir():
            continue
        for sibling in folder.iterdir():
            name = files.temporary_for(sibling.name)
            if name is None or not sibling.is_file():
                continue
            entry = listed.get((folder / name).relative_to(root).as_posix())
            if entry is not None and files.sha256(sibling) == entry.sha256:
                os.replace(sibling, folder / name)
            else:
                sibling.unlink()


def found(root: Path) -> Iterator[str]:
    """The files of an artifact that lie in `root`, by name: not what belongs to a training, nor what waits there."""
    for folder, below, names in os.walk(root):
        at = Path(folder)
        if at == root:
            below[:] = sorted(name for name in below if name not in APART)
        for name in sorted(names):
            lock = name.startswith(INSIDE) and name.endswith(".lock")
            if files.temporary_for(name) is None and name != MARKER and not lock:
                yield (at / name).relative_to(root).as_posix()


def _write(root: Path, listed: Mapping[str, Entry]) -> None:
    entries = {name: entry.model_dump() for name, entry in listed.items()}
    files.write_json(root / MANIFEST, {"format": FORMAT, "files": entries})
