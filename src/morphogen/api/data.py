"""Data as models see them."""

from __future__ import annotations

from morphogen import data
from morphogen.core.data_spec import TextSchema
from morphogen.data.in_memory import AnyData


def load_data(source: AnyData, reader: TextSchema | None = None) -> data.Dataset:
    """Load the records of a source into memory.

    Args:
        source: NAME_OR_PATH[:option[=value],...], such as "digits" or "photos:size=32,resize=crop"; or arrays, a
            mapping of arrays, PIL images, a data frame of numbers or a `torch` dataset.
        reader: what reads captions; None teaches a tokenizer of their own.

    Returns:
        The splits in memory, with their description.

    Raises:
        UsageError: a malformed source, or an unknown name or option.
        DataError: records that are missing, unreadable or inconsistent; the message lists them.

    Example:
        >>> len(mg.load_data("digits").train)
        1398
    """
    return data.load(source, tokenizer=reader)


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
