"""The verb check."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy, print_fields, print_json
from morphogen.cli.models import limit_threads
from morphogen.cli.options import Json, Threads

EXAMPLE = "morphogen check vae --table"


def check(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="A registered family, yours or ours.")],
    table: Annotated[
        bool, typer.Option("--table", help="On the rows of a table, instead of points or pictures.")
    ] = False,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Put a family of models to the tests that every family has to pass."""
    limit_threads(threads)
    from morphogen import api

    with busy(f"checking {family}"):
        found = api.check_family(family, table=table)
    if json:
        print_json(found)
    else:
        print_fields(found)
