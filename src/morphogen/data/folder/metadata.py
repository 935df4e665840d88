"""`metadata.csv` and `metadata.jsonl`: one line a picture, with its file_name and any of text, label and split.

Each cell is used, or the line or the column is listed with the reason. A line that does not have the fields of the
header is a problem of its picture: a caption with an unquoted comma would be cut in silence.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from morphogen.core.errors import DataError
from morphogen.core.printable import listed, one_line
from morphogen.data.folder.texts import as_texts, read_object, read_text
from morphogen.data.split import split_of

NAMES = ("metadata.csv", "metadata.jsonl")
_MAX_BYTES = 1 << 30
_LABELS = ("label", "class")
_KNOWN = ("file_name", "text", "split", *_LABELS)
_NO_TEXT = {"nan", "none", "null", "n/a", "<na>"}  # what programs write for a missing text


@dataclass(frozen=True)
class Line:
    """What one line says about a picture."""

    name: str
    texts: tuple[str, ...] = ()
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Metadata:
    """`lines` that are sound; `bad`, what is wrong with the others, by the name of their picture; and `notes`."""

    lines: list[Line]
    bad: dict[str, str]
    notes: list[str]
    has_texts: bool


def read_metadata(path: Path) -> Metadata:
    """Read a file of one of `NAMES`. Raises `DataError` where it is not of this form."""
    try:
        text = read_text(path, _MAX_BYTES)
        rows = list(_csv_rows(text) if path.suffix.lower() == ".csv" else _json_rows(text))
        columns = list(dict.fromkeys(column for row in rows if isinstance(row[1], dict) for column in row[1]))
        if rows and columns:
            _check_columns(columns)
    except (DataError, csv.Error) as error:
        raise DataError(f"{path}: {str(error).rstrip('.')}.") from None
    splits = "split" in columns
    lines, bad = [], {}
    for number, row, what in rows:
        try:
            if what:
                raise ValueError(what)
            lines.append(_line({"split": None, **row} if splits else row))
        except ValueError as error:
            name = row.get("file_name")
            shown = _normal(name) if isinstance(name, str) and name else f"{path.name}, record {number}"
            bad[shown] = f"{error} (record {number} of {path.name})" if not what else f"{error} ({path.name})"
    notes = []
    if unread := [c or "(without a name)" for c in columns if c not in _KNOWN]:
        notes.append(f"{path.name}: columns that are not read: {listed(unread, 10)}")
    strange = Counter(t.strip().lower() for line in lines for t in line.texts if t.strip().lower() in _NO_TEXT)
    notes += [f"{path.name}: captions that read {t!r}, taken as this text: {n:,}" for t, n in sorted(strange.items())]
    return Metadata(lines, bad, notes, "text" in columns)


_Row = tuple[int, dict[str, Any], str]  # its number, its cells by column, what is wrong with it


def _csv_rows(text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = [column.strip() for column in next(reader, [])]
    if twice := [column for column, n in Counter(header).items() if n > 1]:
        raise DataError(f"has {len(header)} columns, of which {listed(twice, 5)} is named twice; name each once")
    number = 0
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            where = f"record {number + 1}, from line {start} on,"
            raise DataError(f"{where} is no .csv ({error}): perhaps a quote is left open") from None
        if row is None:
            return
        if not row:
            continue
        number += 1
        what = ""
        if len(row) != len(header):
            fields = f"{len(row)} field{'s' * (len(row) != 1)}"
            cure = "put the text into quotes" if len(row) > len(header) else "each column needs one, if an empty one"
            what = f"record {number} has {fields}, the header has {len(header)}: {cure}"
        yield number, dict(zip(header, row, strict=False)), what


def _json_rows(text: str) -> Iterator[_Row]:
    number = 0
    for at, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        number += 1
        try:
            yield number, read_object(line), ""
        except ValueError as error:
            raise DataError(f"record {number} (line {at}) cannot be read ({one_line(str(error))[:200]})") from None


def _check_columns(columns: list[str]) -> None:
    if "file_name" not in columns or not set(columns) & {"text", "split", *_LABELS}:
        raise DataError(
            f"needs a column file_name and any of text, label and split, separated by commas; its columns are"
            f" {listed(columns, 10)}"
        )
    if len(both := [c for c in _LABELS if c in columns]) > 1:
        raise DataError(f"has the columns {' and '.join(both)}, which both name a class; keep one of them")


def _line(row: dict[str, Any]) -> Line:
    """Raises `ValueError` that says what is wrong."""
    name = row.get("file_name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError("has no file_name")
    path = PurePosixPath(_normal(name))
    if path.is_absolute() or ".." in path.parts or name[1:3] in (":\\", ":/"):
        raise ValueError("leads out of the folder, and is not read")
    try:
        texts = as_texts(row["text"]) if "text" in row else ()
    except ValueError as error:
        raise ValueError(f"its text: {error}") from None
    label, split = next((row[c] for c in _LABELS if c in row), None), row.get("split")
    if isinstance(label, bool) or not isinstance(label, str | int | None):
        raise ValueError(f"its class: expected a name or a whole number, got {type(label).__name__}")
    if "split" in row and split in (None, ""):
        raise ValueError("has no split, and other records have one")
    if "split" in row and (not isinstance(split, str) or split_of(split) is None):
        raise ValueError(f"its split is {str(split)[:40]!r}, none of train, validation and test")
    label = one_line(str(label).strip()) if label is not None else None
    return Line(_normal(name), texts, label or None, split_of(split) if isinstance(split, str) else None)


def _normal(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).as_posix()
