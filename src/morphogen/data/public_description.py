"""The description of data for a private training: it says nothing about the records that is not public.

A description is a part of the model. Ranges, quantiles, values and tokenizers that were taken from the records tell of
them outside of epsilon. So those that were given by hand stay, quantiles and counts go, and what is left is refused
unless its user says that it is public (`public=ranges`).
"""

from __future__ import annotations

import dataclasses

from morphogen.core.columns import Column, LeftOut, Table
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError, UsageError
from morphogen.core.printable import listed, shortened
from morphogen.data.records import Dataset, Records

_MAY_BE_MISSING = 0.5  # in place of the share of missing cells: it only says that there may be some


def public_dataset(dataset: Dataset, ranges: bool) -> Dataset:
    """The data with a description that is public; `ranges` says that what it states of the records is.

    Raises `SpecError` that names what was taken from the records.
    """
    spec = dataset.spec
    taken = [] if ranges else _taken(spec)
    if taken:
        hint = (
            " Give the types, ranges and values of the columns in a schema file (`morphogen data inspect --schema FILE`"
            " writes one to change)"
            if spec.table is not None
            else " Leave these out of the data"
        )
        raise SpecError(
            f"the description of {spec.name!r} tells of its records, outside of epsilon: {listed(taken, 6)}.{hint}, or"
            " say that they are public anyway: --privacy ...,public=ranges."
        )
    table = None if spec.table is None else _public_table(spec.table, ranges)
    spec = spec.replace(fingerprint="", table=table)
    splits = {name: dataclasses.replace(records, spec=spec) for name, records in dataset.splits.items()}
    return Dataset(spec, splits)


def units(records: Records, unit: str | None) -> list[str] | None:
    """The unit of each record; None where each is one. Raises `UsageError` for a column that groups nothing."""
    if unit is None:
        return None
    group = "group" if records.spec.table is None else records.spec.table.group
    if records.groups is None or unit != group:
        known = f"the data are grouped by {group!r}" if records.groups is not None else "the data have no groups"
        raise UsageError(
            f"unit={shortened(unit)} names no units: {known}. Name the column in the source, as in --data"
            f" table.csv:group={shortened(unit)}."
        )
    return records.groups


def _taken(spec: DataSpec) -> list[str]:
    """What the description has from the records, in words."""
    found = []
    if spec.table is not None:
        columns = [c.name for c in spec.table.columns if not c.public]
        found += [f"the range or the values of column {shortened(name)!r}" for name in columns]
        found += ["the combinations of its fixed columns"] * bool(spec.table.combinations)
    elif spec.kind == "continuous" and spec.levels is None:
        found.append("the range of its numbers")
    found += [f"the range of {a.name!r}" for a in spec.attributes if a.low is not None]
    found += ["the tokenizer and examples of its captions (captions=none leaves them out)"] * (spec.text is not None)
    found += ["the tokenizer of its texts"] * (spec.sequence is not None)
    return found


def _public_table(table: Table, ranges: bool) -> Table:
    left_out = table.left_out if ranges else tuple(LeftOut(name=c.name, reason=c.reason) for c in table.left_out)
    return table.replace(columns=tuple(map(_public_column, table.columns)), left_out=left_out)


def _public_column(column: Column) -> Column:
    missing = _MAY_BE_MISSING if column.has_missing else 0.0
    return column.replace(knots=(), levels=(), rare=(), common=None, missing=missing, public=True)
