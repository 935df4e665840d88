"""The schema of a table, as it is shown: a row for each column, and no value that fewer than five records hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from morphogen.core.printable import listed, shortened

HEADERS = ("column", "type", "values or range", "step", "missing")
_SHOWN = 5  # values of a column
_LONGEST = 40  # characters of a name or a value


def schema_facts(table: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for the whole table, from `Table.to_dict()`."""
    said = {name: table[name] for name in ("target", "group", "split") if table[name] is not None}
    if table["rules"]:
        said["rules"] = list(table["rules"])
    if table["left_out"]:
        said["left out"] = {shortened(gone["name"], _LONGEST): gone["reason"] for gone in table["left_out"]}
    return said


def schema_rows(table: Mapping[str, Any]) -> list[list[str]]:
    """A row for each column that is modeled, from `Table.to_dict()`."""
    return [_row(column) for column in table["columns"]]


def _row(column: Mapping[str, Any]) -> list[str]:
    missing = f"{column['missing']:.1%}" if column["missing"] else ""
    name, kind = shortened(column["name"], _LONGEST), column["type"]
    if column["values"]:
        rare = set(column["rare"])
        common = [shortened(v, _LONGEST) for i, v in enumerate(column["values"]) if i not in rare]
        values = f"{len(column['values']):,}: {listed(common, _SHOWN)}"
        return [name, kind, values + (f" ({len(rare):,} rare)" if rare else ""), "", missing]
    ends = (column["low"], column["high"]) if column["public"] else column["common"]
    if ends is None:
        return [name, kind, "", "", missing]
    low, high = ends
    if kind == "datetime":
        form = column["format"] or "%Y-%m-%d %H:%M"
        said = [datetime.fromtimestamp(end, UTC).strftime(form) for end in (low, high)]
        steps = {86400.0: "day", 3600.0: "hour", 60.0: "minute", 1.0: "second"}
        return [name, kind, " to ".join(said), steps.get(column["resolution"], ""), missing]
    step = f"{column['resolution']:g}" if column["resolution"] else ""
    return [name, kind, f"{low:g} to {high:g}", step, missing]
