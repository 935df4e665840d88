"""A file of options for `morphogen train --config FILE`, and such a file of a trained model.

    # comments begin with a hash
    family: vae
    data: digits
    latent-dim: 8
    hidden: [500, 500]
    flips: false

It is YAML of the simplest kind: one `name: value` a line, a value being JSON or bare text. Its lines take the place of
`--config FILE` as flags; a flag on the command line wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from morphogen.core.errors import UsageError
from morphogen.core.reading import parse_json
from morphogen.report.json_text import as_json

_FLAG, _LARGEST = "--config", 1 << 20
_RUN = ("out", "resume", "json", "dry-run", "config")  # of one command, and not of a training


def expanded(arguments: Sequence[str]) -> list[str]:
    """A command line in which the options of its file stand for --config FILE. Raises `UsageError`."""
    words = list(arguments)
    if not words or words[0] != "train":
        return words
    at = next((i for i, word in enumerate(words) if word == _FLAG or word.startswith(f"{_FLAG}=")), None)
    if at is None:
        return words
    joined = "=" in words[at]
    if not joined and at + 1 == len(words):
        raise UsageError(f"{_FLAG} needs a value: a file of options.")
    file = words[at].partition("=")[2] if joined else words[at + 1]
    rest = words[1:at] + words[at + (1 if joined else 2) :]
    said = {word.partition("=")[0].removeprefix("--").removeprefix("no-") for word in rest if word.startswith("--")}
    options = read(Path(file))
    family = options.pop("family", None)
    flags = [flag for name, value in options.items() if name not in said for flag in _flags(name, value)]
    first = [str(family)] if family is not None and not (rest and not rest[0].startswith("-")) else []
    return ["train", *first, *rest, *flags]


def read(file: Path) -> dict[str, Any]:
    """The options of a file by their names. Raises `UsageError`."""
    try:
        if file.stat().st_size > _LARGEST:
            raise UsageError(f"{_FLAG} {file}: larger than any file of options.")
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"{_FLAG} {file} cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    found: dict[str, Any] = {}
    for i, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, value = text.partition(":")
        name = name.strip().replace("_", "-")
        if not colon or not name or " " in name or name in found:
            raise UsageError(
                f"{_FLAG} {file}, line {i}: expected one `name: value`, each name once (got {text[:60]!r})."
            )
        found[name] = _value(value.strip())
    return found


def written(facts: Mapping[str, Any]) -> list[str]:
    """The lines of a file that trains a model like the one that `facts` of `mg.describe` are about."""
    recipe, options = dict(facts["recipe"]), dict(facts["options"])
    told = {"family": facts["family"], "data": facts["data"].get("source", "")}
    told |= {name: value for name, value in recipe.items() if value is not None} | {"auto": False}
    told |= {name: value for name, value in options.items() if name not in recipe and value is not None}
    return [f"{name.replace('_', '-')}: {_text(value)}" for name, value in told.items()]


def _flags(name: str, value: Any) -> list[str]:
    if name in _RUN:
        raise UsageError(f"{_FLAG}: {name} belongs to the command, and not to a file of options.")
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{name}"]
    if isinstance(value, list):
        return [f"--{name}={','.join(map(str, value))}"]
    return [f"--{name}={'none' if value is None else value}"]


def _value(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) and _value(value) == value else as_json(value).replace("\n", " ")
