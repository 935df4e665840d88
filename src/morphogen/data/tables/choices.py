"""What a user says about a table: from the options of a source, and from a schema file, a small YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic

from morphogen.core.columns import MAX_COLUMNS, MAX_VALUES, ColumnType, Table
from morphogen.core.errors import DataError, SpecError, UsageError, unknown
from morphogen.core.printable import one_line, shortened
from morphogen.core.reading import read_bytes
from morphogen.core.spec import Spec
from morphogen.data.tables.dates import written
from morphogen.data.tables.options import TableOptions

MAX_SCHEMA_BYTES = 16 << 20
_MAX_NODES = 200_000
_MAX_DEPTH = 8
_TYPES = ("number", "integer", "category", "ordinal", "boolean", "datetime")


class ColumnChoice(Spec):
    """What is said about one column; None for what the data tell.

    low, high   the range, known from elsewhere: it says nothing about the records
    format      how dates are written; low and high are then written so, too
    public      whether values and range are known from elsewhere; None: they are, if they are said at all. A file that
                `data inspect` writes says no, because it took the values from the records
    """

    most_values: ClassVar[int] = MAX_VALUES
    type: ColumnType | Literal["left_out"] | None = None
    values: tuple[str, ...] = ()
    low: float | str | None = None
    high: float | str | None = None
    resolution: float | None = pydantic.Field(default=None, ge=0)
    format: str | None = None
    public: bool | None = None
    reason: str = ""

    @property
    def known_elsewhere(self) -> bool:
        """Whether what is said of the column says nothing about the records."""
        said = bool(self.values) or self.low is not None or self.high is not None
        return said if self.public is None else self.public


class TableChoice(Spec):
    """What is said about a table."""

    most_values: ClassVar[int] = MAX_COLUMNS
    target: str | None = None
    group: str | None = None
    split: str | None = None
    missing: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    columns: dict[str, ColumnChoice] = pydantic.Field(default_factory=dict)


def choices(options: TableOptions, file: Path | None) -> TableChoice:
    """The choices of a schema file, if there is one, overruled by those of the options."""
    said = TableChoice() if file is None else read_schema(file)
    columns = dict(said.columns)
    typed = [(name, kind) for kind in _TYPES for name in getattr(options, kind)]
    typed += [(name, "left_out") for name in options.drop]
    for name, kind in typed:
        known = columns.get(name, ColumnChoice())
        columns[name] = ColumnChoice(format=known.format) if known.type != kind else known
        columns[name] = columns[name].replace(type=kind, reason="as asked" if kind == "left_out" else "")
    split = said.split if options.split == "auto" and said.split is not None else options.split
    return TableChoice(
        target=options.target or said.target,
        group=options.group or said.group,
        split=split,
        missing=(*said.missing, *options.missing),
        rules=said.rules,
        columns=columns,
    )


def schema_beside(path: Path | None, options: TableOptions) -> Path | None:
    """The schema file to read, if there is one. Raises `DataError` for one that is named and is not there."""
    if options.schema_file not in ("auto", "none"):
        file = Path(options.schema_file).expanduser()
        if not file.is_file():
            raise DataError(f"there is no schema file {options.schema_file!r}.")
        return file
    if options.schema_file == "none" or path is None:
        return None
    stem = path.name.partition(".")[0]
    there = (path.with_name(name) for name in (f"{stem}.schema.yaml", "schema.yaml"))
    return next((file for file in there if file.is_file()), None)


def read_schema(file: Path) -> TableChoice:
    """The choices in a schema file. Raises `DataError` for what is no YAML, and for unknown names and values."""
    try:
        content = _parsed(read_bytes(file, MAX_SCHEMA_BYTES).decode("utf-8-sig"))
        if not isinstance(content, Mapping):
            raise ValueError("expected names and their values, such as `target: income`")
        return TableChoice.model_validate(_without_empty(content))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:80] for part in first["loc"])
        said = "this name is not known here" if first["type"] == "extra_forbidden" else first["msg"]
        raise DataError(f"{file.name}: {one_line(where)}: {one_line(said)}.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(f"{file.name}: the schema cannot be read ({shortened(one_line(str(reason)), 300)}).") from None


def _without_empty(content: Any) -> Any:
    """Without names whose value is empty, which YAML reads as text."""
    if isinstance(content, Mapping):
        return {name: _without_empty(value) for name, value in content.items() if value != ""}
    return content


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise UsageError("schema files need the package PyYAML: pip install 'morphogen[tables]'.") from None
    return yaml


def _parsed(text: str) -> Any:
    """Mappings, lists and text of a YAML document. Raises `ValueError` for names given twice, aliases and tags."""
    yaml = _yaml()
    try:
        depth = 0
        for count, event in enumerate(yaml.parse(text, Loader=yaml.BaseLoader)):
            opens = isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent)
            depth += opens - isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent)
            if depth > _MAX_DEPTH or count > _MAX_NODES:
                raise ValueError("it is nested too deeply, or too long")
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise ValueError("aliases and tags are not read")
        return _plain(yaml.compose(text, Loader=yaml.BaseLoader), yaml)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _plain(node: Any, yaml: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        if any(not isinstance(name, str) for name in names):
            raise ValueError("a name must be text")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"{twice!r} is given twice")
        return {key.value: _plain(value, yaml) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, yaml) for value in node.value]
    return "" if node is None else node.value


def schema_text(table: Table) -> str:
    """A schema file for a table: what was found, to read, to change and to put beside the data."""
    yaml = _yaml()
    said: dict[str, Any] = {}
    for name in ("target", "group", "split"):
        if getattr(table, name) is not None:
            said[name] = getattr(table, name)
    said["rules"] = list(table.rules)
    columns: dict[str, dict[str, Any]] = {}
    for name in table.order or table.names:
        if name in table.names:
            column = table[name]
            found: dict[str, Any] = {"type": column.type}
            if not column.is_number:
                found["values"] = list(column.values)
                if not column.public:
                    found["public"] = False
            if column.public:
                said_of = column.format if column.type == "datetime" else None
                ends = (column.low, column.high)
                found |= {
                    n: e if said_of is None else written(e, said_of) for n, e in zip(("low", "high"), ends, strict=True)
                }
            if column.is_number:
                found["resolution"] = column.resolution
            if column.type == "datetime" and column.format:
                found["format"] = column.format
            columns[name] = found
    columns |= {gone.name: {"type": "left_out", "reason": gone.reason} for gone in table.left_out}
    said["columns"] = columns
    head = (
        "# The schema of a table. Change what is wrong, and keep this file beside the table, or give it with"
        " schema_file=.\n# type: number, integer, category, ordinal, boolean, datetime or left_out\n"
        "# low, high: a range that is known from elsewhere\n"
        "# public: false: the values were found in the records; true or no such line: they are known from elsewhere\n"
        "# rules: [age >= 18, start <= end, a + b == total, 'fixed: state, country']\n"
    )
    text: str = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=118, default_flow_style=None)
    return head + text


def refuse_unknown(known: TableChoice, names: list[str], where: str) -> None:
    """Raise `SpecError` for a choice about a column that the table does not have."""
    asked = [n for n in (known.target, known.group) if n is not None]
    asked += [known.split] if known.split not in (None, "auto", "none") else []
    for name in (*asked, *known.columns):
        if name not in names:
            raise SpecError(f"{where}: {unknown('column', name, names)}")
