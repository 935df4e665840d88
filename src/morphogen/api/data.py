"""Data as models see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from morphogen import data
from morphogen.core.data_spec import TextSchema
from morphogen.data.in_memory import AnyData


def load_data(
    source: AnyData,
    reader: TextSchema | None = None,
    *,
    target: str | None = None,
    group: str | None = None,
    drop: Sequence[str] = (),
    schema: Path | str | None = None,
) -> data.Dataset:
    """Load the records of a source into memory.

    Args:
        source: NAME_OR_PATH[:option[=value],...], such as "digits", "photos:size=32,resize=crop" or
            "patients.csv:target=died"; or arrays, a mapping of arrays, PIL images, a data frame or a `torch` dataset.
        reader: what reads captions; None teaches a tokenizer of their own.
        target: of a table, the column that predictions are about.
        group: of a table, the column whose values name what rows belong together: they stay in one split.
        drop: of a table, columns to leave out.
        schema: of a table, a file such as `morphogen data inspect --schema FILE` writes.

    Returns:
        The splits in memory, with their description.

    Raises:
        UsageError: a malformed source, or an unknown name or option.
        DataError: records that are missing, unreadable or inconsistent; the message lists them.

    Example:
        >>> len(mg.load_data("digits").train)
        1398
    """
    given = {"target": target, "group": group, "drop": tuple(drop) or None}
    given["schema_file"] = None if schema is None else str(schema)
    return data.load(source, tokenizer=reader, given={name: value for name, value in given.items() if value})


def inspect_data(source: AnyData) -> data.Inspection:
    """Look at a source: its description, classes, duplicates, and records that cannot be used.

    Args:
        source: as of `load_data`.

    Returns:
        What is in it.

    Raises:
        UsageError: a malformed source, or an unknown name or option.
        DataError: nothing in it can be read.

    Example:
        >>> mg.inspect_data("digits").spec.shape
        (1, 8, 8)
    """
    return data.inspect(source)
