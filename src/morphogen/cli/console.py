"""What verbs print: results on standard output, as text or as pure JSON; everything else on standard error.

Text of others (names, captions, paths, messages) is escaped here, where it goes out, and nowhere before.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from morphogen.core.errors import MorphogenError
from morphogen.core.printable import one_line, printable
from morphogen.core.telling import heard_by
from morphogen.report.json_text import as_json, plain

NARROW = 100  # columns of a terminal
LISTED = 40  # values of a list that are shown as text; JSON has all


def print_json(value: Any) -> None:
    """`as_json` on standard output; as ASCII where that is not UTF-8."""
    _print(as_json(value, ascii=not _speaks_utf8(sys.stdout)))


def print_text(*lines: str) -> None:
    """Lines of text, unwrapped, on standard output."""
    for line in lines:
        _print(one_line(line))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table on standard output; as wide as it needs to be where that is no terminal.

    Names in the first column are whole at any width. A narrow terminal does not show columns that say nothing.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from morphogen.report.tables import MISSING

    console = _stdout()
    kept = [
        i
        for i in range(len(headers))
        if console.width >= NARROW or not rows or any(row[i] not in ("", MISSING) for row in rows)
    ]
    table = Table(title=escape(one_line(title)) or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for i in kept:
        table.add_column(escape(one_line(headers[i])), no_wrap=i == 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(one_line(row[i])) for i in kept))
    with _writing():
        console.print(table)


def print_fields(fields: Mapping[str, Any], indent: str = "") -> None:
    """Names and values, one a line; mappings inside are indented under their name, and long lists have an end."""
    from morphogen.report.tables import MISSING, number

    width = max((len(one_line(str(name))) for name in fields), default=0)
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            print_text(f"{indent}{name}")
            print_fields(value, indent + "  ")
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            print_fields({f"{name} {k}": item for k, item in enumerate(value, start=1)}, indent)
        else:
            items = list(value) if isinstance(value, list | tuple) else [value]
            said = [number(plain(item)) for item in items[:LISTED]] or [MISSING]
            said += [f"and {len(items) - LISTED:,} more"] * (len(items) > LISTED)
            text = ("; " if any("," in str(item) for item in items) else ", ").join(said)
            print_text(f"{indent}{one_line(str(name)):{width}}  {text}")


def print_pictures(pictures: Any) -> None:
    """As many of the pictures (N, C, H, W) as fit into two rows of a terminal; elsewhere nothing."""
    console = _stdout()
    if console.is_terminal and console.color_system and _speaks_utf8(sys.stdout):
        from morphogen.report.sheets import sheet
        from morphogen.report.terminal import half_blocks

        columns = max(1, min((console.width - 2) // (pictures.shape[-1] + 2), len(pictures)))
        with _writing():
            console.print(half_blocks(sheet(pictures[: 2 * columns], columns=columns, scale=1), console.width))


def print_note(text: str) -> None:
    """A line about work that goes on, on standard error, above a progress bar if there is one."""
    with contextlib.suppress(OSError, ValueError):
        print(one_line(text), file=sys.stderr, flush=True)


def print_error(text: str) -> None:
    """Text on standard error, its further lines indented, so that no name in it can pass for a line of ours.

    Nothing where standard error cannot be written.
    """
    with contextlib.suppress(OSError, ValueError):
        print(re.sub(r"\n\s*", "\n  ", printable(text).rstrip()), file=sys.stderr, flush=True)


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
    """A spinner on standard error that says where long work is; silent where that is no terminal."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    status = console.status(escape(one_line(what)))
    with status, heard_by(lambda part: status.update(escape(one_line(f"{what}: {part}")))):
        yield


def _print(text: str) -> None:
    with _writing():
        print(text, flush=True)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Errors of standard output in words; that its reader has gone is for the entry point to see."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MorphogenError(f"standard output cannot be written: {error.strerror or error}.") from None


def _speaks_utf8(stream: Any) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").replace("_", "") in ("utf8", "utf8sig")


def _stdout() -> Any:
    from rich.console import Console

    known = (sys.stdout is not None and sys.stdout.isatty()) or os.environ.get("COLUMNS", "").isdigit()
    return Console(width=None if known else 200, highlight=False)
