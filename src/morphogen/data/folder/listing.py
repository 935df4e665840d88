"""What is in a folder, all the way down: every file once, and what cannot be read by name.

A folder or file is the same wherever a link shows it (its device and inode), so that links can neither lead in circles
nor multiply records. Links that lead out of the folder are followed once.
"""

from __future__ import annotations

import heapq
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from morphogen.data.picture_files.guards import looks_like_picture
from morphogen.data.records import Problem

# Suffixes of files that people keep beside pictures. They are records only if their content is a picture; a file of any
# other suffix is taken for a record, and so is never skipped.
_BESIDE = {"", ".", ".caption", ".cfg", ".csv", ".db", ".htm", ".html", ".ini", ".ipynb", ".json", ".jsonl", ".log"}
_BESIDE |= {".md", ".parquet", ".pdf", ".py", ".rst", ".sh", ".toml", ".tsv", ".txt", ".xml", ".yaml", ".yml"}
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}

_Identity = tuple[int, int]


@dataclass
class Listing:
    """Names relative to `root`, with "/" between their parts.

    pictures   files whose name or content is that of a picture; others: the rest of the files
    folders    all that were read; hidden ones, whose names begin with a dot, are among `others` as one
    outside    links that lead out of the folder and are read
    """

    root: Path
    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def path(self, name: str) -> Path:
        """Where a name lies."""
        return self.root / name


def by_parts(name: str) -> list[str]:
    """The order of names: folder by folder."""
    return name.split("/")


def list_folder(root: Path) -> Listing:
    """All files under `root`."""
    walk = _Walk(Listing(root))
    walk.read("")
    walk.follow()
    found = walk.found
    for names in (found.pictures, found.others, found.folders, found.outside):
        names.sort(key=by_parts)
    return found


class _Walk:
    """Reads what lies in the folder first, then follows links to what was not read."""

    def __init__(self, found: Listing) -> None:
        self.found = found
        self._seen: dict[_Identity, str] = {}
        self._links: list[tuple[list[str], str]] = []  # a heap, in the order of names
        above = found.root.resolve().parents
        self._above = {_identity(os.stat(p)): str(p.name or p) for p in above}

    def read(self, start: str) -> None:
        """Everything below a folder, without following links."""
        waiting = [start]
        while waiting:
            name = waiting.pop()
            path = self.found.root / name
            try:
                identity = _identity(os.stat(path))
                if identity in self._seen:
                    self._leads_back(name, self._seen[identity])
                    continue
                self._seen[identity] = name
                with os.scandir(path) as entries:
                    for entry in entries:
                        inner = f"{name}/{entry.name}" if name else entry.name
                        self._add(inner, entry, identity[0], waiting)
            except OSError as error:
                self._problem(name or ".", f"this folder cannot be read ({error.strerror or error})")
                continue
            self.found.folders += [name] if name else []

    def _add(self, name: str, entry: os.DirEntry[str], device: int, waiting: list[str]) -> None:
        if entry.is_symlink():
            heapq.heappush(self._links, (by_parts(name), name))
        elif entry.is_dir(follow_symlinks=False):
            if entry.name.startswith("."):
                self.found.others.append(name + "/")
            else:
                waiting.append(name)
        elif entry.is_file(follow_symlinks=False):
            self._seen[device, entry.inode()] = name
            self._add_file(name)
        else:
            kind = _KINDS.get(stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode), "something else")
            self._problem(name, f"is no file but {kind}")

    def _add_file(self, name: str) -> None:
        base = name.rpartition("/")[2]
        beside = os.path.splitext(base)[1].lower() in _BESIDE
        if base.startswith(".") or (beside and not looks_like_picture(self.found.path(name))):
            self.found.others.append(name)
        else:
            self.found.pictures.append(name)

    def follow(self) -> None:
        """Links to what was not read yet; they may show further links."""
        while self._links:
            _, name = heapq.heappop(self._links)
            if name.rpartition("/")[2].startswith("."):
                self.found.others.append(name)
                continue
            try:
                about = os.stat(self.found.path(name))
            except FileNotFoundError:
                self._problem(name, "is a link to what is not there")
                continue
            except OSError as error:
                self._problem(name, f"is a link that cannot be followed ({error.strerror or error})")
                continue
            self._follow_one(name, about)

    def _follow_one(self, name: str, about: os.stat_result) -> None:
        identity = _identity(about)
        if identity in self._above:
            self._leads_back(name, self._above[identity])
        elif identity in self._seen:
            self._leads_back(name, self._seen[identity])
        elif stat.S_ISDIR(about.st_mode):
            self.found.outside.append(name)
            self.read(name)
        elif stat.S_ISREG(about.st_mode):
            self.found.outside.append(name)
            self._seen[identity] = name
            self._add_file(name)
        else:
            self._problem(name, f"is a link to {_KINDS.get(stat.S_IFMT(about.st_mode), 'something else')}")

    def _leads_back(self, name: str, to: str) -> None:
        shown = to or self.found.root.resolve().name
        self._problem(name, f"leads back to {shown}: remove the link")

    def _problem(self, name: str, what: str) -> None:
        self.found.problems.append(Problem(name, what))


def _identity(about: os.stat_result) -> _Identity:
    return about.st_dev, about.st_ino
