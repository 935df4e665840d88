"""Drawn molecules as SMILES, and as a .smi file: what is no molecule stays in its place, with a mark."""

from __future__ import annotations

from collections.abc import Sequence

from morphogen.core.errors import DataError
from morphogen.core.printable import one_line
from morphogen.core.sequences import SequenceSchema
from morphogen.data.molecules.reading import from_selfies
from morphogen.data.molecules.standard_form import parsed, quiet


def as_smiles(schema: SequenceSchema, texts: Sequence[str]) -> list[str]:
    """The texts of records as SMILES; "" for a SELFIES string that means nothing."""
    return [from_selfies(text) for text in texts] if schema.tokenizer == "selfies" else list(texts)


def smi_file(smiles: Sequence[str], stem: str = "sample") -> str:
    """A molecule a line: its SMILES, a tab and its number; of what is no molecule also why."""
    width, lines = max(5, len(str(len(smiles) - 1))), []
    with quiet():
        for i, text in enumerate(smiles):
            name = f"{stem}_{i:0{width}}"
            try:
                parsed(text)
            except DataError as error:
                name += f" INVALID: {error}"
            lines.append(f"{text}\t{one_line(name)}\n")
    return "".join(lines)
