"""Types of options as people say them: "whole numbers, comma-separated", "cosine or linear", "number, or none"."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_ONE = {bool: "on or off", int: "whole number", float: "number", str: "text"}
_SEVERAL = {int: "whole numbers", float: "numbers", str: "words"}
_COUNTS = {2: "two", 3: "three", 4: "four"}


def in_words(annotation: Any) -> str:
    """What a value of this type is, in words."""
    kinds, optional = _alternatives(annotation)
    said = list(dict.fromkeys(kinds))
    text = " or ".join(filter(None, (", ".join(said[:-1]), said[-1])))
    return f"{text}, or none" if optional else text


def _alternatives(annotation: Any) -> tuple[list[str], bool]:
    """The kinds of values, and whether there may be none."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _alternatives(parts[0])
    if origin in (Union, UnionType):
        found = [_alternatives(part) for part in parts if part is not NoneType]
        return [kind for kinds, _ in found for kind in kinds], NoneType in parts or any(none for _, none in found)
    if origin is Literal:
        return [str(choice) for choice in parts], False
    if origin in (tuple, list):
        count = "" if len(parts) < 2 or parts[1] is ... else f"{_COUNTS.get(len(parts), len(parts))} "
        return [f"{count}{_several(parts[0])}, comma-separated"], False
    if origin in (dict, Mapping) or annotation in (dict, Mapping):
        return ["JSON object"], False
    return [_ONE.get(annotation, getattr(annotation, "__name__", str(annotation)))], False


def _several(annotation: Any) -> str:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return _SEVERAL.get(annotation) or f"values, each {in_words(annotation)}"
