"""A file of texts, one a line."""

from __future__ import annotations

from pathlib import Path

import torch

from morphogen.core.errors import DataError
from morphogen.core.memory import available_bytes
from morphogen.core.printable import one_line
from morphogen.core.reading import read_bytes
from morphogen.data.raw import Raw
from morphogen.data.sequences.options import SequenceOptions


def read_lines(path: Path, options: SequenceOptions) -> Raw:
    """The lines of a text file that are not empty, as they stand. Raises `DataError` for what is no UTF-8."""
    try:
        text = read_bytes(path, available_bytes() // 8).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is no text in UTF-8 (byte {error.start}).") from None
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({one_line(str(error))}).") from None
    rows = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip("\r")]
    return Raw(
        stored=torch.zeros(len(rows), 0, dtype=torch.uint8),
        sequences=[line.removesuffix("\r") for _, line in rows],
        ids=torch.tensor([number for number, _ in rows], dtype=torch.int64),
        names=[f"line {number}" for number, _ in rows],
    )
