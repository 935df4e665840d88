"""Tables that a model made or completed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from morphogen.api.results.shown import Brief
from morphogen.core.columns import Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import UsageError
from morphogen.data.tables.writing import FORMATS, file_of, frame_file, frame_of
from morphogen.report.html import escape
from morphogen.report.saving import write_whole

_SHOWN = 10  # rows in a notebook


@final
@dataclass(frozen=True, eq=False)
class SyntheticTable(Brief):
    """Synthetic rows.

    Attributes:
        cells: (n, C) float64: numbers, seconds since 1970, places among the values of a column, NaN where missing
        spec: what they are; `spec.table` is their schema
        drawn: how many rows the model drew for them
        warnings: why some of these were drawn again

    Example:
        >>> rows = mg.synthesize("runs/patients", n=1000, seed=1)
        >>> rows.save("synthetic.csv")
        >>> rows.frame.columns[:2]
        ['sex', 'age']
    """

    cells: np.ndarray
    spec: DataSpec
    drawn: int = 0
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def table(self) -> Table:
        """Their schema."""
        assert self.spec.table is not None
        return self.spec.table

    @property
    def frame(self) -> Any:
        """A polars data frame with the columns, types and order of the original; `.to_pandas()` makes one of pandas."""
        return frame_of(self.cells, self.table)

    def save(self, path: Path | str) -> Path:
        """Write the rows: .csv, .csv.gz, .tsv (as the original is written) or .parquet (typed).

        Args:
            path: the file to write; `~` is the home folder. A file of that name is replaced.

        Returns:
            The path of the file.

        Raises:
            UsageError: the name ends in none of these.
        """
        return write_whole(path, file_of(self.cells, self.table, table_format(path)))

    def _repr_html_(self) -> str:
        frame = self.frame.head(_SHOWN)
        head = "".join(f"<th>{escape(name)}</th>" for name in frame.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{'' if cell is None else escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in frame.iter_rows()
        )
        return f"<p>{len(self):,} synthetic rows of {escape(self.spec.name)}</p><table><tr>{head}</tr>{rows}</table>"


@final
@dataclass(frozen=True, eq=False)
class Imputed(Brief):
    """Rows whose missing cells were filled in.

    Attributes:
        frame: a polars data frame of all columns that were given, with a column `draw` in front where there are several
            draws, and with a column `NAME spread` at the end for each column that had missing cells, where these are
            means
        filled: how many cells were filled in, by column
        warnings: what is to be said about them
        semicolons: whether text files of it need semicolons between cells, because of decimal commas

    Example:
        >>> filled = mg.impute("runs/patients", "patients.csv", seed=1)
        >>> filled.save("filled.csv")
    """

    frame: Any
    filled: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    semicolons: bool = False

    def __len__(self) -> int:
        return int(self.frame.height)

    def save(self, path: Path | str) -> Path:
        """Write the rows as .csv, .csv.gz, .tsv or .parquet.

        Args:
            path: the file to write; `~` is the home folder. A file of that name is replaced.

        Returns:
            The path of the file.

        Raises:
            UsageError: the name ends in none of these.
        """
        return write_whole(path, frame_file(self.frame, table_format(path), self.semicolons))

    def _repr_html_(self) -> str:
        counts = "".join(f"<tr><th>{escape(name)}</th><td>{n:,}</td></tr>" for name, n in self.filled.items())
        return f"<p>{len(self):,} rows; cells filled in:</p><table>{counts}</table>"


def table_format(path: Path | str) -> str:
    """The format that a name ends in. Raises `UsageError` where it is none of a table."""
    name = Path(path).name.lower()
    found = next((suffix for suffix in FORMATS if name.endswith(suffix)), None)
    if found is None:
        raise UsageError(f"{path}: expected a name that ends in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    return found
