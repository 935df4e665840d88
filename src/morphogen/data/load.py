"""`load`: one function for every source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from morphogen.core.data_spec import DataSpec, TextSchema
from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.core.printable import printable
from morphogen.data import digits, folder, named, npz, portraits, shapes
from morphogen.data.in_memory import AnyData, is_source, named_arrays
from morphogen.data.molecules import reading as molecules
from morphogen.data.molecules.options import MoleculeOptions
from morphogen.data.options import FolderOptions, Options, OwnSplits, SourceOptions
from morphogen.data.prepare import prepare
from morphogen.data.raw import Raw, SourceReader
from morphogen.data.records import Dataset, Problem
from morphogen.data.sequences.lines import read_lines
from morphogen.data.sequences.options import SequenceOptions
from morphogen.data.source import parse
from morphogen.data.tables import named as named_tables
from morphogen.data.tables.options import TableOptions
from morphogen.data.tables.reading import SUFFIXES, header_of, is_frame, is_table
from morphogen.data.tables.source import from_file, from_frame

IN_MEMORY = "data in memory"
_EMBEDDED = {"digits": digits.READER, "portraits": portraits.READER, "shapes": shapes.READER}
_MAX_LISTED = 10
_ALIKE = ("shape", "kind", "levels", "classes", "text", "sequence", "table", "context_shape", "shift", "scale")
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def sources() -> dict[str, str]:
    """The names that `load` knows, each with one line about it: the embedded sets, then the named ones."""
    return {name: reader.summary for name, reader in _readers().items()}


def load(
    source: AnyData,
    *,
    like: DataSpec | None = None,
    tokenizer: TextSchema | None = None,
    strict: bool = True,
    given: Mapping[str, Any] = NO_OPTIONS,
) -> Dataset:
    """Load a named set, a folder of pictures, an .npz file, a table (.csv, .tsv, .parquet), or a file of texts (.txt)
    or molecules (.smi, or a table with a column `smiles`): NAME_OR_PATH[:option[=value],...].

    Arrays and other data in memory (`data/in_memory.py`) are prepared in the same way, and a `Dataset` is one already.

    like       prepare the records as this description says (size, channels, binarization, scale, classes),
               so that a model's data need no options at evaluation time; an option that contradicts it
               raises `SpecError`
    tokenizer  without `like`: captions are read by it, instead of by one that they teach
    strict     raise `DataError` that lists bad records; if false, or with the option skip_bad, they are
               left out and listed in `Dataset.problems`
    given      options of a table, beside those in the text of a source

    Raises `UsageError` for a malformed source or an unknown name, `DataError` for records that are
    missing, unreadable or inconsistent.
    """
    if isinstance(source, Dataset):
        return _fits(source, like)
    options, raw = read_source(source, like, strict=strict, given=given)
    if not is_source(source):
        return prepare(raw, IN_MEMORY, IN_MEMORY, options, like, tokenizer, strict)
    name = parse(str(source), _readers().keys()).name
    return prepare(raw, _short_name(name), options.canonical(name), options, like, tokenizer, strict)


def read_source(
    source: AnyData,
    like: DataSpec | None = None,
    reading: Callable[[Any], Any] | None = None,
    *,
    strict: bool = True,
    given: Mapping[str, Any] = NO_OPTIONS,
) -> tuple[SourceOptions, Raw]:
    """The options of a source, and all records that it holds before they are split; raises as `load` does.

    reading  the options to read with, made of those of the source; None: as they are
    given    options of a table, beside those in the text of a source
    """
    known = None if like is None else like.table
    if is_frame(source):
        settled = TableOptions.settled(IN_MEMORY, given, like, like is not None and like.source == IN_MEMORY)
        return settled, from_frame(source, settled, known)
    if not is_source(source):
        if given:
            raise UsageError(f"{', '.join(given)}: these are options of tables; give a file of one or a data frame.")
        held = OwnSplits.settled(IN_MEMORY, {}, like, like is not None and like.source == IN_MEMORY)
        raw = npz.of_arrays(named_arrays(source), held if reading is None else reading(held))
        if strict and raw.problems:
            raise DataError(_listing(IN_MEMORY, raw.problems))
        return held, raw
    parsed = parse(str(source), _readers().keys())
    reader = _reader(parsed.name, parsed.options, like)
    theirs = like.source if like is not None else ""
    same = theirs != "" and _same_place(parse(theirs, _readers().keys()).name, parsed.name)
    if given and not reader.is_table:
        raise UsageError(f"{', '.join(given)}: these are options of tables, and {printable(parsed.name)} is none.")
    found = reader.options.settled(parsed.name, {**parsed.options, **given}, like, same)
    if strict and not _can_be_stored(parsed.name):
        raise DataError(f"{printable(parsed.name)}: a model cannot store this name, which is not UTF-8: rename it.")
    used = found
    if isinstance(found, Options) and reading is not None and "size" not in parsed.options:
        used = reading(found)
    raw = reader.read(used, known) if reader.is_table else reader.read(used)
    if strict and raw.problems and not getattr(found, "skip_bad", False):
        raise DataError(_listing(found.canonical(parsed.name), raw.problems))
    return found, raw


def _same_place(kept: str, given: str) -> bool:
    """Whether data lie where a model's did: photos is photos/, and of an absolute path the model kept the name."""
    known, here = Path(kept), Path(given)
    return known == here or (here.is_absolute() and known == Path(here.name))


def _fits(dataset: Dataset, like: DataSpec | None) -> Dataset:
    """Loaded data as they are. Raises `DataError` where they were prepared otherwise than `like` says."""
    if like is not None:
        for what in _ALIKE:
            came, wanted = getattr(dataset.spec, what), getattr(like, what)
            if came != wanted:
                raise DataError(
                    f"{dataset.spec.name}: these data were loaded with another {what} than the model's ({came} and"
                    f" {wanted}): give their source, so that they can be prepared as the model's data were."
                )
    return dataset


def _short_name(name: str) -> str:
    path = Path(name).resolve()
    return name if name in _readers() else path.name if path.is_dir() else path.name.split(".")[0] or path.stem


def _readers() -> dict[str, SourceReader]:
    return _EMBEDDED | named.READERS | named_tables.READERS


def _reader(name: str, options: Mapping[str, Any] = NO_OPTIONS, like: DataSpec | None = None) -> SourceReader:
    if name in _readers():
        return _readers()[name]
    path = Path(name)
    if path.is_dir():
        return SourceReader(FolderOptions, partial(folder.read, path), "")
    if path.suffix.lower() == ".npz" and path.is_file():
        return SourceReader(OwnSplits, partial(npz.read, path), "")
    found = _sequence_reader(path)
    if found is not None and not (is_table(path) and not is_of_molecules(path, options, like)):
        return found
    if is_table(path) and path.is_file():
        return SourceReader(TableOptions, partial(from_file, path), "", is_table=True)
    if path.exists():
        raise UsageError(
            f"{name!r} is neither a folder of pictures nor an .npz file, nor a table ({', '.join(SUFFIXES)}), nor a"
            " file of texts (.txt) or molecules (.smi, or a table with a column `smiles`)."
        )
    if path.suffix or path.name != name:
        raise DataError(f"there is no folder or file {name!r}.")
    raise UsageError(unknown("data set, folder or file", name, _readers()))


def _sequence_reader(path: Path) -> SourceReader | None:
    """The reader of a file of texts or molecules; None for other files."""
    suffix = "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if not path.is_file():
        return None
    if suffix == ".txt":
        return SourceReader(SequenceOptions, partial(read_lines, path), "")
    if suffix in (".smi", ".smi.gz"):
        return SourceReader(MoleculeOptions, partial(molecules.read_smi, path), "")
    if suffix in (".csv", ".csv.gz", ".parquet"):
        return SourceReader(MoleculeOptions, partial(molecules.read_table, path), "")
    return None


def is_of_molecules(path: Path, options: Mapping[str, Any], like: DataSpec | None) -> bool:
    """Whether a table is read as molecules: `like` says so, or the option column, or the name of one of its columns."""
    if like is not None:
        return like.kind == "sequence"
    return "column" in options or molecules.smiles_column(header_of(path)) is not None


def _can_be_stored(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _listing(source: str, problems: list[Problem]) -> str:
    lines = [f"  {p}" for p in problems[:_MAX_LISTED]]
    if len(problems) > _MAX_LISTED:
        lines.append(f"  and {len(problems) - _MAX_LISTED} more")
    what = "1 record cannot be used" if len(problems) == 1 else f"{len(problems)} records cannot be used"
    return f"{source}: {what}; mend them, or leave them out with the option skip_bad:\n" + "\n".join(lines)
