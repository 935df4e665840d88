"""What verbs print: results on standard output, as text or as pure JSON; everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def print_json(value: Any) -> None:
    """`value` as one JSON document on standard output; NaN and infinity, which JSON lacks, become null."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def print_text(text: str) -> None:
    """A line of text, unwrapped, on standard output."""
    print(text)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table on standard output; as wide as it needs to be where that is no terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(*headers, title=escape(title) or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    _stdout().print(table)


def print_fields(fields: Mapping[str, Any], indent: str = "") -> None:
    """Names and values, one a line; mappings inside are indented under their name."""
    from morphogen.report.tables import MISSING, number

    width = max((len(str(name)) for name in fields), default=0)
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            print_text(f"{indent}{name}")
            print_fields(value, indent + "  ")
        else:
            items = value if isinstance(value, list | tuple) else [value]
            said = [number(_plain(item)) for item in items] or [MISSING]
            text = ("; " if any("," in str(item) for item in items) else ", ").join(said)
            print_text(f"{indent}{name!s:{width}}  {text}")


def print_pictures(pictures: Any) -> None:
    """As many of the pictures (N, C, H, W) as fit into two rows of a terminal; elsewhere nothing."""
    console = _stdout()
    if console.is_terminal and console.color_system:
        from morphogen.report.sheets import sheet
        from morphogen.report.terminal import half_blocks

        columns = max(1, min((console.width - 2) // (pictures.shape[-1] + 2), len(pictures)))
        console.print(half_blocks(sheet(pictures[: 2 * columns], columns=columns, scale=1), console.width))


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
    """A spinner on standard error while something takes its time; silent where that is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status(what) if console.is_terminal else contextlib.nullcontext():
        yield


def _stdout() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)
