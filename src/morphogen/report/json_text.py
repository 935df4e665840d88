"""JSON that every reader can read, whatever the strings and numbers in it are."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from morphogen.core.printable import UNSAFE, printable

_SURROGATE = re.compile("[\ud800-\udfff]")


def as_json(value: Any, *, ascii: bool = True) -> str:
    r"""`value` as one JSON document, whatever the strings in it hold.

    NaN and infinity, which JSON lacks, become null; characters that are unsafe to show are written as \u escapes; half
    a surrogate pair, such as Python makes of a byte of a file name that is not UTF-8, becomes the text of its escape.
    """
    text = json.dumps(plain(value), indent=2, ensure_ascii=ascii, allow_nan=False)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain(value: Any) -> Any:
    """Mappings, lists, strings, numbers, booleans and None alone; arrays become lists, other objects their text."""
    if isinstance(value, Mapping):
        return {_whole(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _whole(value)
    if value is None or isinstance(value, bool | int):
        return value
    return plain(value.tolist()) if hasattr(value, "tolist") else _whole(str(value))


def _whole(text: str) -> str:
    return _SURROGATE.sub(lambda found: printable(found[0]), text)
