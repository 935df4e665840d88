"""Files of molecules: .smi, one a line with a name after it, and tables with a column of SMILES.

Each molecule is brought to its standard form. What was changed is listed by record, what is no molecule is left out and
listed. Columns of numbers become attributes; others can be asked for that are computed.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from morphogen.core.data_spec import Attribute
from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.core.memory import available_bytes
from morphogen.core.printable import listed, one_line
from morphogen.core.reading import read_at_most, read_bytes
from morphogen.data.molecules.chemistry import selfies
from morphogen.data.molecules.options import COLUMNS, NONE, MoleculeOptions
from morphogen.data.molecules.properties import PROPERTIES, compute
from morphogen.data.molecules.standard_form import kekulized, parsed, standard_form
from morphogen.data.raw import Raw
from morphogen.data.records import Problem
from morphogen.data.split import SPLIT_NAMES, split_of

SMILES_COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "molecule_smiles", "structure")
_SPLIT_COLUMNS = ("split", "set", "subset", "partition")
_MOST = 1 << 31  # bytes that a packed table may unpack to

Table = Mapping[str, Sequence[str]]


def read_smi(path: Path, options: MoleculeOptions) -> Raw:
    """A file with a molecule a line, and perhaps its name after a space or tab. A line of # is a comment."""
    smiles, names = [], []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        first, _, rest = line.strip().partition("\t" if "\t" in line.strip() else " ")
        if not first or line.startswith("#") or (number == 1 and first.lower() in SMILES_COLUMNS):
            continue
        smiles.append(first)
        names.append(f"line {number}{f' ({one_line(rest.strip())[:40]})' if rest.strip() else ''}")
    return of_columns({"smiles": smiles}, options.replace(column="smiles"), path.name, names)


def smiles_of_file(path: Path) -> list[str]:
    """The first word of each line of a .smi file as it stands, also of what is no molecule. Raises `DataError`."""
    return [line.split("\t")[0].split(" ")[0] for line in _text(path).splitlines() if line.strip(" ")]


def read_table(path: Path, options: MoleculeOptions) -> Raw:
    """A .csv, .csv.gz or .parquet file with a column of SMILES."""
    table = columns_of(path)
    names = [f"row {i}" for i in range(1, 1 + max(map(len, table.values()), default=0))]
    return of_columns(table, options, path.name, names)


def smiles_column(names: Sequence[str], asked: str | None = None) -> str | None:
    """The column that holds SMILES, or None. Raises `UsageError` if one is asked for that is not there."""
    if asked is not None:
        if asked not in names:
            raise UsageError(unknown("column", asked, names))
        return asked
    by_name = {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[name] for name in SMILES_COLUMNS if name in by_name), None)


def of_columns(
    table: Table,
    options: MoleculeOptions,
    where: str,
    names: list[str],
    *,
    is_standard: bool = False,
    license: str = "",
) -> Raw:
    """The molecules of columns of texts; with `is_standard` they are in their standard form already."""
    column = smiles_column(list(table), options.column)
    if column is None:
        raise DataError(
            f"{where} has no column of SMILES: call one `smiles`, or name it with the option column;"
            f" there are {listed(list(table))}."
        )
    given, kept, texts = table[column], [], []
    problems, changes, reordered = [], [], 0
    for row, smiles in enumerate(given):
        try:
            if is_standard and options.stereo == "keep":
                text = smiles
            elif options.standardize:
                form = standard_form(smiles, stereo=options.stereo == "keep")
                text, reordered = form.smiles, reordered + (form.smiles != smiles and not form.changes)
                changes += [Problem(names[row], f"{smiles}: {change}") for change in form.changes]
            else:
                parsed(smiles)
                text = smiles
            text = kekulized(text) if options.kekule else text
            texts.append(as_selfies(text) if options.tokens == "selfies" else text)
            kept.append(row)
        except DataError as error:
            problems.append(Problem(names[row], f"{one_line(smiles)[:80]!r} {error}"))
    values, present, schema, notes = _attributes(table, column, kept, texts, options)
    if reordered:
        notes.append(f"{reordered:,} SMILES are rewritten in canonical order")
    split = _split(table, kept)
    return Raw(
        stored=torch.zeros(len(texts), 0, dtype=torch.uint8),
        sequences=texts,
        content="molecules",
        split=split,
        ids=torch.tensor(kept, dtype=torch.int64),
        names=[names[row] for row in kept],
        attributes=values,
        present=present,
        schema=schema,
        problems=problems,
        notes=notes,
        changes=changes,
        license=license,
    )


def columns_of(path: Path) -> dict[str, list[str]]:
    """The columns of a table as texts; what is missing is "". Raises `DataError` in words."""
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    try:
        rows = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
        header = next(rows, [])
        if not header or len(set(header)) < len(header):
            raise DataError(f"{path.name} has no header of names that differ in its first line.")
        columns: list[list[str]] = [[] for _ in header]
        for number, row in enumerate(rows, start=2):
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(f"{path.name}: line {number} has {len(row)} fields, and the header has {len(header)}.")
            for values, value in zip(columns, row, strict=True):
                values.append(value)
    except csv.Error as error:
        raise DataError(f"{path.name} cannot be read as CSV ({one_line(str(error))}).") from None
    return dict(zip(header, columns, strict=True))


def _parquet(path: Path) -> dict[str, list[str]]:
    try:
        import polars
    except ImportError:
        raise UsageError(".parquet files need polars: install it, or write a .csv file.") from None
    try:
        frame = polars.read_parquet(path)
        return {c: ["" if v is None else str(v) for v in frame[c].to_list()] for c in frame.columns}
    except Exception as error:  # polars raises many kinds
        raise DataError(f"{path.name} cannot be read as Parquet ({one_line(str(error))[:200]}).") from None


def _text(path: Path) -> str:
    """The text of a file, unpacked if it is .gz. Raises `DataError`."""
    most = min(_MOST, available_bytes() // 8)
    try:
        data = read_bytes(path, most)
        if path.suffix.lower() == ".gz":
            with gzip.open(io.BytesIO(data)) as packed:
                data = read_at_most(packed, most + 1)
            if len(data) > most:
                raise DataError(f"{path.name} unpacks to more than {most:,} bytes, which is too much to read.")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is no text in UTF-8 (byte {error.start}).") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path.name} cannot be read ({one_line(str(error))}).") from None


def _attributes(
    table: Table, smiles: str, kept: Sequence[int], texts: Sequence[str], options: MoleculeOptions
) -> tuple[torch.Tensor | None, torch.Tensor | None, tuple[Attribute, ...], list[str]]:
    """The values (N, A), which of them are known, what they are, and notes."""
    numbers = {name: _numbers(column, kept) for name, column in table.items() if name != smiles}
    found = {name: values for name, values in numbers.items() if values is not None}
    notes = []
    if options.attributes == NONE:
        return None, None, (), []
    if options.attributes == COLUMNS:
        chosen = list(found)
        others = [name for name in table if name not in found and name != smiles and name.lower() not in _SPLIT_COLUMNS]
        if others:
            notes.append(f"columns that hold no numbers are not used: {listed(others, 5)}")
    else:
        chosen = list(dict.fromkeys(options.names))
        computed = [name for name in chosen if name not in found]
        for name in computed:
            if name not in PROPERTIES:
                raise UsageError(unknown("column of numbers or property", name, [*found, *PROPERTIES]))
        molecules = [from_selfies(text) for text in texts] if options.tokens == "selfies" else list(texts)
        if computed:
            columns = compute(computed, molecules)
            found |= {name: columns[:, i] for i, name in enumerate(computed)}
    if not chosen:
        return None, None, (), notes
    array = np.stack([found[name] for name in chosen], axis=1).astype(np.float32)
    present = torch.from_numpy(np.isfinite(array))
    values = torch.from_numpy(np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0))
    return values, present, tuple(Attribute(name=name) for name in chosen), notes


def _numbers(column: Sequence[str], kept: Sequence[int]) -> np.ndarray | None:
    """A column as numbers, NaN where nothing stands; None where something else than numbers does."""
    out = np.full(len(kept), np.nan)
    for i, row in enumerate(kept):
        text = column[row].strip()
        try:
            out[i] = float(text) if text else math.nan
        except ValueError:
            return None
    return out if np.isfinite(out).any() else None


def _split(table: Table, kept: Sequence[int]) -> list[str] | None:
    """The split of each molecule, where a column says it of all of them."""
    for name, column in table.items():
        if name.strip().lower() in _SPLIT_COLUMNS:
            found = [SPLIT_NAMES.get(column[row].strip().lower()) or split_of(column[row]) for row in kept]
            if all(found):
                return [str(one) for one in found]
    return None


def as_selfies(smiles: str) -> str:
    """The SELFIES string of a molecule. Raises `DataError`."""
    package: Any = selfies()
    try:
        return str(package.encoder(smiles))
    except package.EncoderError as error:
        raise DataError(f"cannot be written as SELFIES ({one_line(str(error))[:100]})") from None


def from_selfies(text: str) -> str:
    """The SMILES of a SELFIES string; "" where it means nothing."""
    package: Any = selfies()
    try:
        return str(package.decoder(text))
    except package.DecoderError:
        return ""
