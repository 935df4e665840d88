"""Fields of a configuration as flags: `--latent-dim 16`, `--hidden 500,500`, `--free-bits=0.1`, `--no-flips`.

Values stay strings, which the configuration itself converts and checks; only what a string cannot
say is settled here, from the field's type: lists, none, mappings and switches.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from morphogen import UsageError
from morphogen.core.errors import unknown
from morphogen.core.printable import shortened
from morphogen.core.reading import parse_json

Field = Mapping[str, Any]  # name, type, in_words, default, description


def flag(name: str) -> str:
    """The flag of a field: `latent_dim` is `--latent-dim`."""
    return "--" + name.replace("_", "-")


def parse_fields(
    arguments: Sequence[str], groups: Sequence[Iterable[Field]], others: Collection[str] = ()
) -> list[dict[str, Any]]:
    """The values that `arguments` give to the fields of each group, in the groups' order.

    `others` are flags that exist beside them, only to be suggested. Raises `UsageError` for a flag that is unknown,
    repeated or lacks its value, and for one that would mean a field of two groups.
    """
    fields: dict[str, tuple[int, Field]] = {}
    for i, group in enumerate(groups):
        for field in group:
            name = flag(field["name"])
            if name in fields:
                raise UsageError(f"{name} would mean two options of this name: the family has to rename its own.")
            fields[name] = i, field
    switches = {"--no-" + name[2:]: name for name, (_, field) in fields.items() if _is_switch(field)}
    values: list[dict[str, Any]] = [{} for _ in groups]
    rest = deque(arguments)
    while rest:
        word, equals, value = rest.popleft().partition("=")
        if not word.startswith("--"):
            raise UsageError(f"unexpected argument {shortened(word)!r}: a value follows the flag that it belongs to.")
        name = switches.get(word, word)
        if name not in fields:
            raise UsageError(unknown("flag", word, {*fields, *switches, *others}))
        i, field = fields[name]
        if field["name"] in values[i]:
            raise UsageError(f"{name} is given twice.")
        if _is_switch(field) and not equals:
            values[i][field["name"]] = word == name
            continue
        if word in switches:
            raise UsageError(f"{word} takes no value.")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"{name} needs a value: {field['in_words']}.")
            value = rest.popleft()
        values[i][field["name"]] = _value(name, value, str(field["type"]))
    return values


def _is_switch(field: Field) -> bool:
    return str(field["type"]) == "bool"


def _value(name: str, text: str, type_: str) -> Any:
    if text.lower() == "none" and "None" in type_:
        return None
    if re.match(r"(dict|Mapping)\b", type_):
        try:
            return parse_json(text)
        except ValueError as error:
            raise UsageError(f"{name} needs a JSON object (got {shortened(text)!r}: {error}).") from None
    if re.match(r"(tuple|list|set|frozenset|Sequence)\b", type_):
        return [part.strip() for part in text.strip("()[]").split(",") if part.strip()]
    return text
