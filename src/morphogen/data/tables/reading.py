"""Read a table as text: CSV, TSV and their .gz, Parquet, and data frames of pandas or polars.

Cells of CSV and TSV are text as it stands; nothing but an empty cell is missing. Typed columns of Parquet files and
data frames keep their types.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from morphogen.core.columns import MAX_COLUMNS
from morphogen.core.errors import DataError, UsageError
from morphogen.core.printable import listed, one_line, shortened
from morphogen.core.reading import read_at_most, read_bytes
from morphogen.data.tables.options import TableOptions

if TYPE_CHECKING:
    import polars

MAX_BYTES = 4 << 30  # of a table, unpacked
MAX_HEADER = 1 << 20  # bytes that are read to find the names of the columns
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
_LINES = 50  # that tell the delimiter


def is_table(path: Path) -> bool:
    """Whether the name is that of a table."""
    return path.name.lower().endswith(SUFFIXES)


def is_frame(data: Any) -> bool:
    """Whether these are a data frame of pandas, polars or the like, without importing any of them."""
    module = type(data).__module__.partition(".")[0]
    return module in ("pandas", "polars", "modin", "cudf", "pyarrow") and hasattr(data, "columns")


def polars_module() -> Any:
    """The package polars. Raises `UsageError` that says how to install it."""
    try:
        import polars
    except ImportError:
        raise UsageError("tables need the package polars: pip install 'morphogen[tables]'.") from None
    return polars


def read_table(path: Path, options: TableOptions) -> polars.DataFrame:
    """The table in a file, with text columns where it is text. Raises `DataError` for one that cannot be read."""
    pl = polars_module()
    name = path.name
    try:
        data = read_bytes(path, MAX_BYTES)
        if name.lower().endswith(".gz"):
            data = _unpacked(data)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{name}: the table cannot be read ({reason}).") from None
    if name.lower().endswith(".parquet"):
        try:
            frame = pl.read_parquet(io.BytesIO(data))
        except Exception as error:  # polars has many
            said = one_line(str(error).partition("\n")[0])[:200]
            raise DataError(f"{name}: this is no Parquet file that can be read ({said}).") from None
        return _checked(frame, name)
    return _checked(_of_text(_decoded(data, name), name, options, pl), name)


def header_of(path: Path) -> list[str]:
    """The names of the columns of a table, from the beginning of the file; none where it cannot be read."""
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            return list(polars_module().read_parquet_schema(path))
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            text = file.read(MAX_HEADER).decode("utf-8-sig", errors="replace")
        return next(_rows(text, _found_delimiter(text.rpartition("\n")[0] or text, name), name), [])
    except Exception:  # which is for the reader of the table to say
        return []


def of_frame(data: Any, name: str) -> polars.DataFrame:
    """The table in a data frame. Raises `DataError` for a column of mixed types, with its first odd row."""
    pl = polars_module()
    try:
        import narwhals
    except ImportError:
        raise UsageError("data frames need the package narwhals: pip install 'morphogen[tables]'.") from None
    names = [str(column) for column in data.columns]
    _check_names(names, name)
    if isinstance(data, pl.DataFrame):
        return _checked(data, name)
    frame = narwhals.from_native(data, eager_only=True)
    columns = []
    for column in names:
        absent = frame[column].is_null().to_list()
        cells = [None if gone else _plain(value) for value, gone in zip(frame[column].to_list(), absent, strict=True)]
        kinds = Counter(_kind(value) for value in cells if value is not None)
        if len(kinds) > 1 and set(kinds) != {"int", "float"}:
            usual = kinds.most_common(1)[0][0]
            row = next(i for i, value in enumerate(cells) if value is not None and _kind(value) != usual)
            raise DataError(
                f"{name}: column {shortened(column)!r} mixes types: row {row + 1:,} holds {_kind(cells[row])}, most"
                f" rows {usual}; bring the column to one type."
            )
        try:
            columns.append(pl.Series(column, cells, strict=not {"int", "float"} <= set(kinds)))
        except (TypeError, ValueError, pl.exceptions.PolarsError):
            raise DataError(
                f"{name}: column {shortened(column)!r} holds neither numbers, text, booleans nor dates."
            ) from None
    return _checked(pl.DataFrame(columns), name)


def all_in_split(data: Any, split: str) -> Any:
    """A data frame whose rows all belong to one split, unless it has a column that says so."""
    frame = of_frame(data, "data in memory")
    pl = polars_module()
    return frame if "split" in frame.columns else frame.with_columns(pl.lit(split).alias("split"))


def _plain(value: Any) -> Any:
    """A cell without the types of numpy and pandas; None for NaN."""
    value = value.item() if hasattr(value, "item") else value
    value = value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    return None if isinstance(value, float) and value != value else value


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    kind = type(value).__name__
    return next((k for k in ("bool", "int", "float", "date") if kind.startswith(k)), kind)


def _unpacked(data: bytes) -> bytes:
    with gzip.open(io.BytesIO(data)) as file:
        found = read_at_most(file, MAX_BYTES + 1)
    if len(found) > MAX_BYTES:
        raise ValueError(f"unpacked it has more than {MAX_BYTES:,} bytes")
    return found


def _decoded(data: bytes, name: str) -> str:
    """UTF-8 with or without a byte order mark, or UTF-16 with one."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        raise DataError(f"{name}: line {row:,} is no UTF-8 text; save the table as UTF-8.") from None
    if "\0" in text:
        raise DataError(f"{name}: this is no text: it holds NUL characters.")
    return text


def _of_text(text: str, name: str, options: TableOptions, pl: Any) -> polars.DataFrame:
    if not text.strip():
        raise DataError(f"{name}: the file is empty; expected a line of column names and a line for each row.")
    beginning = text[:MAX_HEADER]
    delimiter = _DELIMITERS.get(options.delimiter) or _found_delimiter(beginning, name)
    header = next(_rows(beginning, delimiter, name))
    if not header:
        raise DataError(f"{name}: the first line is empty; expected a line of column names.")
    _check_names(header, name)
    others = {d: header[0].count(d) for d in _DELIMITERS.values() if d != delimiter}
    if len(header) == 1 and max(others.values()) > 0:
        known = next(word for word, d in _DELIMITERS.items() if others.get(d) == max(others.values()))
        raise DataError(
            f"{name}: only one column is found, {shortened(header[0])!r}; the delimiter seems to be another: give"
            f" delimiter={known}."
        )
    try:
        frame = pl.read_csv(
            io.BytesIO(text.encode()),
            separator=delimiter,
            infer_schema=False,
            new_columns=header,
        )
    except pl.exceptions.NoDataError:
        frame = pl.DataFrame({column: [] for column in header}, schema=dict.fromkeys(header, pl.String))
    except pl.exceptions.PolarsError as error:
        frame = None
        said = one_line(str(error).partition("\n")[0])[:100]
    if frame is None or frame.height == 0 or bool(frame[:, -1].null_count()):  # a row may have too few or too many
        for number, row in enumerate(_rows(text, delimiter, name)):
            if row and len(row) != len(header):
                raise DataError(
                    f"{name}: row {number:,} has {len(row)} cells and the header {len(header)} names; quote cells that"
                    " hold the delimiter, or give another one with delimiter=."
                )
    if frame is None:
        raise DataError(f"{name}: the table cannot be read ({said}).")
    if len(header) == 1:  # an empty line is no row of a table of one column
        frame = frame.drop_nulls()
    return frame.with_columns(pl.all().replace("", None))


def _rows(text: str, delimiter: str, name: str) -> Iterator[list[str]]:
    """The header and the rows, cell by cell."""
    limit = csv.field_size_limit(1 << 20)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise DataError(f"{name}: the table cannot be read ({error}); check its quotes.") from None
    finally:
        csv.field_size_limit(limit)


def _found_delimiter(text: str, name: str) -> str:
    """The delimiter that cuts the first lines into the same number of cells, and into the most."""
    if name.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    best, most = ",", 1
    for delimiter in _DELIMITERS.values():
        try:
            widths = [len(row) for row in islice(_rows(text, delimiter, name), _LINES) if row]
        except DataError:
            continue
        if widths and len(set(widths)) == 1 and widths[0] > most:
            best, most = delimiter, widths[0]
    if most > 1:
        return best
    first = next(iter(text.splitlines()))
    return max(_DELIMITERS.values(), key=first.count)  # an error further on says what is wrong


def _check_names(names: list[str], name: str) -> None:
    """Raise `DataError` for names that are empty or come twice."""
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{name}: several columns are called {listed([shortened(c) for c in twice], 3)}; rename them.")
    if len(names) > MAX_COLUMNS:
        raise DataError(f"{name}: the table has {len(names):,} columns, and at most {MAX_COLUMNS:,} are read.")


def _checked(frame: polars.DataFrame, name: str) -> polars.DataFrame:
    """The frame with plain columns. Raises `DataError` where there is nothing in it, or a nested column."""
    pl = polars_module()
    _check_names(frame.columns, name)
    if not frame.width or not frame.height:
        raise DataError(f"{name}: the table has {frame.width} columns and {frame.height} rows; there is no record.")
    made = []
    for series in frame.get_columns():
        kind = series.dtype
        if kind in (pl.Categorical, pl.Enum) or kind == pl.Null:
            series = series.cast(pl.String)
        elif kind in (pl.Date, pl.Datetime):
            series = series.cast(pl.Datetime("us")) if kind == pl.Datetime else series
        elif not (kind.is_numeric() or kind in (pl.String, pl.Boolean)):
            raise DataError(
                f"{name}: column {shortened(series.name)!r} has the type {kind}; numbers, text, booleans and dates are"
                " read."
            )
        made.append(series)
    return pl.DataFrame(made)
