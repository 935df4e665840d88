"""Where something lay on its maker's machine is nobody else's business: absolute paths are cut to their last names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_BEGIN = r"(?:~[\w.-]*[/\\]|[A-Za-z]:[/\\]|/|\\\\)"
_WHOLE = re.compile(rf"(?P<path>{_BEGIN}[^:\n]*)(?P<rest>(?::.*)?)", re.DOTALL)
_WITHIN = re.compile(rf"(?<![\w.~:/\\-]){_BEGIN}[^\s:,;'\"|()<>]*")


def without_folders(value: Any) -> Any:
    """A JSON value with each absolute path in its texts cut to its last name.

    "/home/ada/cats:size=32" becomes "cats:size=32"; relative paths and addresses of the web stay as they are.
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
        text = text.replace(folder, "")
    whole = _WHOLE.fullmatch(text)
    if whole is not None:
        return _last(whole["path"]) + _WITHIN.sub(_found, whole["rest"])
    return _WITHIN.sub(_found, text)


def _known() -> list[str]:
    """Folders whose names may hold spaces, with their separator."""
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
