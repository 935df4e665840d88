"""A table as a source of data: its rows as cells, with their splits, groups and schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
import torch
from torch import Tensor

from morphogen.core.columns import Column, LeftOut, Table
from morphogen.core.errors import DataError, SpecError
from morphogen.core.printable import listed, one_line, shortened
from morphogen.data.raw import Raw
from morphogen.data.split import split_of
from morphogen.data.tables.cells import cells_in
from morphogen.data.tables.choices import ColumnChoice, TableChoice, choices, refuse_unknown, schema_beside
from morphogen.data.tables.inference import describe, texts_of
from morphogen.data.tables.options import TableOptions
from morphogen.data.tables.reading import of_frame, polars_module, read_table
from morphogen.data.tables.rules import Rules

if TYPE_CHECKING:
    import polars

_SEPARATOR = "\x1f"


def from_file(path: Path, options: TableOptions, known: Table | None = None) -> Raw:
    """The rows of a file; `known` is the schema of a model, or None to infer one."""
    return from_read(read_table(path, options), path.name, options, known, path)


def from_frame(data: Any, options: TableOptions, known: Table | None = None) -> Raw:
    """The rows of a data frame."""
    return from_read(of_frame(data, "data frame"), "data frame", options, known)


def from_read(
    frame: polars.DataFrame,
    name: str,
    options: TableOptions,
    known: Table | None = None,
    path: Path | None = None,
    license: str = "",
) -> Raw:
    """The rows of a frame as read."""
    ids = None
    if options.only is not None:
        frame, ids = _only(frame, options.only, name)
    if options.n is not None:
        frame = frame.head(options.n)
    said = TableChoice(missing=options.missing, group=options.group) if known is not None else None
    said = said or choices(options, schema_beside(path, options))
    refuse_unknown(said, frame.columns, name)
    frame = _without(frame, said.missing)
    notes: list[str] = []
    group, by = (known.group, known.split) if known is not None else (said.group, said.split or options.split)
    group = group if group in frame.columns else None
    split_column = _split_column(frame, by if by in frame.columns or known is None else "auto", name)
    if known is None:
        table, notes = _inferred(frame, said, options, group, split_column, name)
    else:
        table = known
        others = {*table.order, *(c for c in (group, split_column) if c)}
        strange = [column for column in frame.columns if column not in others]
        notes = [f"column {shortened(one_line(c))!r} is not read: the model does not know it" for c in strange]
    cells = cells_in(frame, table, name)
    if known is None and table.rules:
        notes += _kept(Rules(table), cells, name)
    groups = None if group is None else _groups(frame[group])
    split = None if split_column is None else _splits(frame[split_column], name)
    if groups is not None and split is not None:
        notes += _across(groups, split, str(group))
    return Raw(
        stored=cells,
        levels=None,
        split=split,
        ids=None if ids is None else ids[: frame.height],
        groups=groups if groups is not None else _contents(frame, table),
        table=table,
        license=license,
        notes=notes,
    )


def _only(frame: polars.DataFrame, only: str, name: str) -> tuple[polars.DataFrame, Tensor]:
    """The rows whose cell is written as COLUMN=VALUE says, and their numbers. Raises `DataError` for none."""
    column, equals, value = only.partition("=")
    if not equals or column not in frame.columns:
        raise SpecError(f"{name}: only={only} is COLUMN=VALUE with a column of the table.")
    kept = [text == value for text in texts_of(frame[column])]
    if not any(kept):
        raise DataError(f"{name}: no row has {value!r} in the column {column!r}.")
    return frame.filter(polars_module().Series(kept)), torch.tensor(kept).nonzero()[:, 0]


def _without(frame: polars.DataFrame, missing: tuple[str, ...]) -> polars.DataFrame:
    """Texts that stand for a missing cell as null."""
    pl = polars_module()
    if not missing:
        return frame
    texts = pl.selectors.string()
    return frame.with_columns(
        pl.when(texts.str.strip_chars().is_in(list(missing))).then(None).otherwise(texts).name.keep()
    )


def _inferred(
    frame: polars.DataFrame,
    said: TableChoice,
    options: TableOptions,
    group: str | None,
    split: str | None,
    name: str,
) -> tuple[Table, list[str]]:
    columns: list[Column] = []
    left_out: list[LeftOut] = []
    notes: list[str] = []
    for series in frame.get_columns():
        if series.name in (group, split):
            continue
        choice = said.columns.get(series.name, ColumnChoice())
        kept = series.name in options.keep or series.name == said.target
        try:
            found = describe(series, choice, options.dates, options.decimal, kept)
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        except pydantic.ValidationError as error:
            why = str(error.errors(include_input=False, include_url=False)[0]["msg"]).removeprefix("Value error, ")
            raise DataError(f"{name}: {why}; mend its cells, or give another type.") from None
        notes += found.notes
        if isinstance(found.column, LeftOut):
            left_out.append(found.column)
            notes.append(f"column {shortened(one_line(series.name))!r} is left out: {found.column.reason}")
        else:
            columns.append(found.column)
    if not columns:
        raise DataError(f"{name}: no column is left to model: {'; '.join(notes)[:500] or 'there is only the split'}.")
    gone = {column.name: column.reason for column in left_out}
    if said.target in gone:
        raise DataError(f"{name}: the target {said.target!r} cannot be modeled: {gone[said.target]}.")
    try:
        table = Table.parse(
            {
                "columns": columns,
                "target": said.target,
                "group": group,
                "split": split,
                "left_out": left_out,
                "rules": said.rules,
                "order": frame.columns,
            }
        )
        Rules(table)
    except SpecError as error:
        raise DataError(f"{name}: {error}") from None
    return table, notes


def _split_column(frame: polars.DataFrame, asked: str | None, name: str) -> str | None:
    if asked in (None, "none"):
        return None
    if asked != "auto":
        if asked not in frame.columns:
            raise SpecError(f"{name}: there is no column {asked!r} to split by.")
        return asked
    named = next((c for c in frame.columns if c.strip().lower() in ("split", "set", "subset", "fold")), None)
    if named is None:
        return None
    values = frame[named].unique().to_list()
    return named if all(isinstance(v, str) and split_of(v) is not None for v in values) else None


def _splits(series: polars.Series, name: str) -> list[str]:
    found = texts_of(series)
    if None in found:
        raise DataError(f"{name}: column {series.name!r}, row {found.index(None) + 1:,}: the row belongs to no split.")
    return [split_of(value or "") or str(value) for value in found]


def _groups(series: polars.Series) -> list[str]:
    """The group of each row; a row without one is a group of its own."""
    return [f"row {i}" if text is None else f"group {text}" for i, text in enumerate(texts_of(series))]


def _contents(frame: polars.DataFrame, table: Table) -> list[str]:
    """What each row holds, as one text: rows that hold the same stay together."""
    pl = polars_module()
    cells = [pl.col(column).cast(pl.String).fill_null("\x00") for column in table.names]
    found: list[str] = frame.select(pl.concat_str(cells, separator=_SEPARATOR)).to_series().to_list()
    return found


def _kept(rules: Rules, cells: Tensor, name: str) -> list[str]:
    """How many rows break the rules. Raises `DataError` where all do, since no row could then be given out."""
    broken = int((~rules.hold(cells)).sum())
    if broken < len(cells):
        said = f"{broken:,} of {len(cells):,} rows break the rules; rows that are given out do not"
        return [said] * bool(broken)
    each = [f"{shortened(text)!r} by {count:,}" for text, count in rules.broken(cells)]
    raise DataError(
        f"{name}: no row keeps all rules, so they contradict each other or the table; of {len(cells):,} rows they are"
        f" broken: {listed(each, 5)}."
    )


def _across(groups: list[str], split: list[str], name: str) -> list[str]:
    where: dict[str, set[str]] = {}
    for group, which in zip(groups, split, strict=True):
        where.setdefault(group, set()).add(which)
    several = sum(len(splits) > 1 for splits in where.values())
    return [f"{several:,} values of {name!r} have rows in more than one split: the table says so"] * bool(several)
