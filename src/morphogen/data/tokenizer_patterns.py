"""The patterns in a tokenizer of others: those that may take time beyond all measure on some text are refused.

A matcher that goes back tries a repetition within a repetition, as in (a+)+b, in exponentially many ways, and a
reference to an earlier group cannot be matched in linear time at all. The patterns of known tokenizers have neither.
"""

from __future__ import annotations

import re
from typing import Any

from morphogen.core.errors import DataError
from morphogen.core.printable import one_line
from morphogen.core.reading import parse_json

_LONGEST = 4096  # characters of a pattern
_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}|\{\d{3,}\}")  # that has no end, or a far one
_KIND = re.compile(r"\?(?:[\w-]*:|<?[=!]|>)?")
_ATOM = re.compile(r"\\[pP]\{[^}]*\}|\\.|\[(?:\\.|\[:\w+:\]|[^\]\\])*\]|.", re.DOTALL)


def check_patterns(json: str) -> None:
    """Raise `DataError` where a tokenizer's JSON is none, or holds a pattern that cannot be trusted."""
    try:
        waiting: list[Any] = [parse_json(json)]
    except ValueError as error:
        raise DataError(
            f"expected the JSON of a tokenizer, got something unreadable ({one_line(str(error))})."
        ) from None
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            pattern = item.get("Regex")
            if isinstance(pattern, str) and (len(pattern) > _LONGEST or _goes_back(pattern)):
                raise DataError(
                    f"the tokenizer splits text by the pattern {one_line(pattern)[:80]!r}, which repeats a"
                    " repetition or refers back: some texts would take it for ever. Take another text encoder."
                )
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _opening_end(pattern: str, at: int) -> int:
    """Where what follows a parenthesis ends that says of which kind the group is."""
    found = _KIND.match(pattern, at)
    return at if found is None else found.end()


def _goes_back(pattern: str) -> bool:
    """Whether a group that holds a repetition is repeated, or something refers to a group."""
    repeats = [False]  # for each open group, whether something in it repeats
    inside = False  # whether the last atom was a group with a repetition in it
    at = 0
    while at < len(pattern):
        repeat = _REPEAT.match(pattern, at)
        if repeat is not None:
            if inside:
                return True
            repeats[-1], inside, at = True, False, repeat.end()
            continue
        atom = _ATOM.match(pattern, at)
        assert atom is not None
        at, text = atom.end(), atom[0]
        if re.fullmatch(r"\\(?:[1-9]|[kg])", text):
            return True
        if text == "(":
            repeats.append(False)
            at = _opening_end(pattern, at)
        inside = False
        if text == ")" and len(repeats) > 1:
            inside = repeats.pop()
            repeats[-1] = repeats[-1] or inside
    return False
