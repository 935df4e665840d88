"""Paths: how deep those that are written to may lie, and absolute ones cut to their last names.

An artifact does not tell the folders of its maker's machine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from morphogen.core.errors import UsageError

_BEGIN = r"(?:~[\w.-]*[/\\]|[A-Za-z]:[/\\]|/|\\\\)"
_WHOLE = re.compile(rf"(?P<path>{_BEGIN}[^:\n]*)(?P<rest>(?::.*)?)", re.DOTALL)
_DEEPEST = 200
_REST = r"[^\s:,;'\"|()<>]*"
_WITHIN = re.compile(rf"(?<![\w.~:/\\-]){_BEGIN}{_REST}")


def check_depth(path: Path) -> None:
    """Raise `UsageError` for a path of more folders than `Path.mkdir` and `shutil.rmtree` can go through."""
    if len(path.parts) > _DEEPEST:
        raise UsageError(f"a path of {len(path.parts):,} folders is too deep: choose one of at most {_DEEPEST}.")


def without_folders(value: Any) -> Any:
    """Cut each absolute path in the texts of a JSON value to its last name.

    "/home/ada/cats:size=32" becomes "cats:size=32"; relative paths and web addresses stay as they are.
    """
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, dict):
        return {name: without_folders(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    return value


def _cut(text: str) -> str:
    for folder in _known():
        text = re.sub(re.escape(folder) + _REST, _found, text)
    whole = _WHOLE.fullmatch(text)
    if whole is not None:
        return _last(whole["path"]) + _WITHIN.sub(_found, whole["rest"])
    return _WITHIN.sub(_found, text)


def _known() -> list[str]:
    """The working folder and the home, with a separator at the end; their names may hold spaces."""
    try:
        folders = [str(Path.cwd()), str(Path.home())]
    except (OSError, RuntimeError):  # no such folder, no home
        return []
    return [f"{folder}{sep}" for folder in folders for sep in "/\\" if len(folder) > 1]


def _found(match: re.Match[str]) -> str:
    return _last(match[0])


def _last(path: str) -> str:
    names = re.split(r"[/\\]", path.rstrip("/\\"))
    return names[-1] or path
