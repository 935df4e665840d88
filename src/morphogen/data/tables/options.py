"""The options of a table as a source: `patients.csv:target=readmitted,group=patient,drop=note+comment`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from morphogen.data.options import Share, SourceOptions


def _names(value: Any) -> Any:
    """Names joined by +."""
    return tuple(name for name in value.split("+") if name) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class TableOptions(SourceOptions):
    """The options of every table. Names of columns are joined by +.

    target      the column that predictions are about
    group       the column that names what rows belong together, such as a patient: they stay in one split
    split       the column that says which split a row belongs to; "auto": a column `split` whose values are such names;
                "none": there is none
    drop        columns to leave out; keep: columns to model that would be left out
    number, integer, category, ordinal, boolean, datetime   columns of this type
    missing     texts that stand for a missing cell, beside an empty one
    dates       how dates are written, such as %d.%m.%Y
    delimiter, decimal   of text files
    schema_file a file that `morphogen data inspect --schema FILE` writes; "auto": STEM.schema.yaml or schema.yaml
                beside the table, if there is one; "none": it is not read
    n           only the first n rows
    only        COLUMN=VALUE: only the rows whose cell is written so
    validation, test     the shares of the rows to set aside, where the table comes without splits
    """

    target: str | None = None
    group: str | None = None
    split: str = "auto"
    drop: Names = ()
    keep: Names = ()
    number: Names = ()
    integer: Names = ()
    category: Names = ()
    ordinal: Names = ()
    boolean: Names = ()
    datetime: Names = ()
    missing: Names = ()
    dates: str | None = None
    delimiter: Literal["auto", "comma", "semicolon", "tab", "pipe"] = "auto"
    decimal: Literal["auto", "point", "comma"] = "auto"
    schema_file: str = "auto"
    n: Annotated[int, Field(ge=1)] | None = None
    only: str | None = None
    validation: Share = 0.05
    test: Share = 0.10
