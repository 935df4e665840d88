"""Read untrusted text files: UTF-8, or a `DataError` with the place of the fault; and JSON with unique keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from morphogen.core.errors import DataError
from morphogen.core.reading import parse_json, read_bytes


def read_text(path: Path, most: int) -> str:
    """A text in UTF-8, with or without a byte order mark. Raises `DataError`."""
    try:
        data = read_bytes(path, most)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError("is UTF-16, expected UTF-8; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"is not UTF-8: byte 0x{data[error.start]:02x} at position {error.start} (line {line}); save it as UTF-8"
        ) from None


def read_object(text: str) -> dict[str, Any]:
    """One JSON object, each key once. Raises `ValueError` that says what is wrong."""
    if not isinstance(parse_json(text), dict):  # bounds depth and numbers, refuses NaN
        raise ValueError("expected an object, {...}")
    found: dict[str, Any] = json.loads(text, object_pairs_hook=_once)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} stands there twice")
    return values


def as_texts(value: Any) -> tuple[str, ...]:
    """The captions that a JSON value holds: a text or a list of texts. Raises `ValueError` for anything else."""
    texts = value if isinstance(value, list) else [value]
    strange = [text for text in texts if not isinstance(text, str)]
    if strange:
        shown = json.dumps(strange[0])
        raise ValueError(f"expected a text, got {shown if len(shown) < 40 else type(strange[0]).__name__}")
    return tuple(texts)
