"""A consistent view of a model directory for readers. They write nothing, take no lock and see no unfinished change.

Files of an artifact are replaced and never changed in place, so that one which is open stays what it was. A snapshot
opens all that the manifest lists, and begins again where a writer exchanged the folder or the manifest meanwhile; from
then on the writer may do what it likes. Small files are read at once, large ones stay open.

A writer that was killed may have left a file waiting under its temporary name though the manifest lists it already
(`manifest.commit`): the snapshot reads it there.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from morphogen.artifact.files import temporary_for
from morphogen.artifact.schemas import Entry, Manifest, checked
from morphogen.artifact.unfinished import explained
from morphogen.core.errors import ArtifactError
from morphogen.core.printable import one_line
from morphogen.core.reading import open_regular, read_bytes
from morphogen.core.tensor_header import read_header

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 << 20
_SMALL = 1 << 20  # bytes of a file that is read at once
_MAX_SMALL = 256 << 20  # bytes of all of them
_LARGE = 1 << 30  # bytes; only weights are larger, and an empty file of terabytes would be hashed for hours
_MAX_OPEN = 128  # files
_LONGEST = 200  # characters of a name in a message
_TRIES, _PAUSE_S = 100, 0.02

Stamp = tuple[int, ...]


class Snapshot:
    """The files of the artifact at `root`, by their names in its manifest. Close it, or use `taken`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._small = 0  # bytes
        self._data: dict[str, bytes] = {}
        self._files: dict[str, io.BufferedReader] = {}
        self._problems: dict[str, str] = {}  # of files that cannot be read at all
        self.manifest = _read(root, MANIFEST, MAX_MANIFEST_BYTES)
        self.entries: Mapping[str, Entry] = checked(Manifest, str(root / MANIFEST), self.manifest)[0].files
        inside = os.path.realpath(root)
        for name in self.entries:
            check_inside(root, inside, name)
        with ExitStack() as opened:
            for name, entry in self.entries.items():
                try:
                    self._take(name, entry, opened)
                except (OSError, ValueError) as error:
                    missing = isinstance(error, FileNotFoundError)
                    self._problems[name] = "is missing." if missing else f"cannot be read ({reason(error)})."
            self._open = opened.pop_all()

    def close(self) -> None:
        """Close all files."""
        self._open.close()

    def data(self, name: str) -> bytes:
        """The content of a small file, as the manifest lists it. Raises `ArtifactError` where it is anything else."""
        if name not in self.entries:
            raise ArtifactError(f"{self.root / name} is not listed in {MANIFEST}.")
        if problem := self.problem(name):
            raise ArtifactError(f"{self.root} is damaged: {one_line(name)} {problem}")
        if name in self._data:
            return self._data[name]
        raise ArtifactError(f"{self.root / name} has {self.entries[name].bytes:,} bytes: more than is read of such.")

    @contextmanager
    def stream(self, name: str) -> Iterator[io.BufferedReader]:
        """A large file, at its beginning. Raises `ArtifactError`."""
        if name not in self.entries:
            raise ArtifactError(f"{self.root / name} is not listed in {MANIFEST}.")
        if name in self._problems:
            raise ArtifactError(f"{self.root} is damaged: {one_line(name)} {self._problems[name]}")
        if name in self._files:
            self._files[name].seek(0)
            yield self._files[name]
            return
        try:
            with open_regular(self.root / name) as file:
                yield file
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{self.root / name} cannot be read ({reason(error)}).") from None

    def problem(self, name: str) -> str | None:
        """The fault of a listed file, as the end of a sentence that begins with its name; None if it has none."""
        if name in self._problems:
            return self._problems[name]
        expected = self.entries[name]
        if name in self._data:
            size, digest = len(self._data[name]), hashlib.sha256(self._data[name]).hexdigest()
        else:
            with self.stream(name) as file:
                size = os.fstat(file.fileno()).st_size
                if size == expected.bytes and size > _LARGE and not _holds_weights(file):
                    return f"has {size:,} bytes and holds no weights."
                digest = hashlib.file_digest(file, "sha256").hexdigest() if size == expected.bytes else ""
        if size != expected.bytes:
            return f"has {size} bytes, expected {expected.bytes}."
        return None if digest == expected.sha256 else "was changed after it was written: its hash differs."

    def problems(self, below: str = "") -> list[str]:
        """The faults of the listed files with names that begin with `below`, one sentence each."""
        found = ((name, self.problem(name)) for name in self.entries if name.startswith(below))
        return [f"{one_line(name)} {problem}" for name, problem in found if problem]

    def _take(self, name: str, entry: Entry, opened: ExitStack) -> None:
        path = self.root / name
        if entry.bytes > _SMALL or self._small > _MAX_SMALL:
            file = open_regular(path)
            if len(self._files) < _MAX_OPEN:
                self._files[name] = opened.enter_context(file)
            else:
                file.close()  # it is opened again when it is asked for
            return
        try:
            data = read_bytes(path, _SMALL)
        except (OSError, ValueError):
            found = _waiting(path, entry) or _again(path, entry)
            if found is None:
                raise
            data = found
        if not _fits(data, entry):
            data = _waiting(path, entry) or _again(path, entry) or data
        self._data[name] = data
        self._small += len(data)


@contextmanager
def taken(path: Path | str) -> Iterator[Snapshot]:
    """A `Snapshot` of the artifact at `path`. Raises `ArtifactError` where there is none, or none that can be read."""
    root = Path(path)
    snapshot = _settled(root)
    try:
        yield snapshot
    finally:
        snapshot.close()


def _settled(root: Path) -> Snapshot:
    for _ in range(_TRIES):
        before = _stamp(root)
        if before is None and not explained(root).passing:
            raise ArtifactError(explained(root).said)
        try:
            snapshot = Snapshot(root)
        except ArtifactError:
            if before is not None and before == _stamp(root):
                raise
        else:
            if before == _stamp(root):
                return snapshot
            snapshot.close()
        time.sleep(_PAUSE_S)
    if _stamp(root) is None:
        raise ArtifactError(explained(root).said)
    raise ArtifactError(f"{root} is being written all the time: look again when its writer has ended.")


def _stamp(root: Path) -> Stamp | None:
    """A value that changes whenever a writer exchanges the folder or its manifest."""
    try:
        folder, manifest = os.stat(root), os.stat(root / MANIFEST)
    except (OSError, ValueError):
        return None
    return folder.st_ino, manifest.st_ino, manifest.st_mtime_ns, manifest.st_size


def check_inside(root: Path, inside: str, name: str) -> None:
    """Raise `ArtifactError` unless `name` is a path within `root`, also where links are followed."""
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") for part in parts) and not set(name) & {"\\", "\x00"} and len(name) < 4096
    if plain and os.name == "nt":
        plain = ":" not in name
    if not plain or os.path.commonpath([inside, os.path.realpath(root / name)]) != inside:
        said = one_line(repr(name))[:_LONGEST]
        raise ArtifactError(f"{root / MANIFEST}: {said} leads out of the model directory; do not trust it.")
    if temporary_for(parts[-1]) is not None:
        raise ArtifactError(f"{root / MANIFEST}: lists {one_line(name)}, which is a temporary file.")


def _read(root: Path, name: str, most: int) -> bytes:
    try:
        return read_bytes(root / name, most)
    except FileNotFoundError:
        raise ArtifactError(f"{root}: {name} is missing; this is no complete model directory.") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{root / name} cannot be read ({reason(error)}).") from None


def _holds_weights(file: io.BufferedReader) -> bool:
    """Whether the file is as long as the header of weights says; leaves it at its beginning."""
    try:
        read_header(file)
    except (OSError, ValueError):
        return False
    file.seek(0)
    return True


def _fits(data: bytes, entry: Entry) -> bool:
    return len(data) == entry.bytes and hashlib.sha256(data).hexdigest() == entry.sha256


def _waiting(path: Path, entry: Entry) -> bytes | None:
    """The temporary file of an entry that a writer has listed but not yet put in place."""
    try:
        siblings = [path.with_name(n) for n in os.listdir(path.parent) if temporary_for(n) == path.name]
    except OSError:
        return None
    for sibling in siblings:
        found = _again(sibling, entry)
        if found is not None:
            return found
    return None


def _again(path: Path, entry: Entry) -> bytes | None:
    try:
        data = read_bytes(path, _SMALL)
    except (OSError, ValueError):
        return None
    return data if _fits(data, entry) else None


def reason(error: OSError | ValueError) -> str:
    """Why a file cannot be read, in one line."""
    return one_line(str(getattr(error, "strerror", None) or error))
