"""The verb compress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import limit_threads, require_folder
from morphogen.cli.options import Data, Json, Overwrite, Threads
from morphogen.cli.outputs import Output, emit
from morphogen.cli.verbs.keep.archive import lines_of

EXAMPLE = "morphogen compress runs/integers --data digits --split test --out digits.mgz"


def compress(
    data: Data,
    out: Annotated[str, typer.Option("--out", metavar="FILE.mgz", help="The archive.")],
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="A model directory; without one, plain coding.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of the data; all records by default.")] = None,
    with_model: Annotated[bool, typer.Option("--with-model", help="Put the model into the archive.")] = False,
    this_machine_only: Annotated[
        bool, typer.Option("--this-machine-only", help="Allow a model that others may compute otherwise.")
    ] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Also by PNG, WebP, LZMA and bzip2.")] = False,
    quality: Annotated[
        int | None, typer.Option("--quality", min=1, max=100, help="Of a model that codes with a loss; 100 is best.")
    ] = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Pack records into one archive by what a model knows of them; `decompress` gives back the same bytes.

    With --quality, and a model that codes with a loss, similar pictures.
    """
    target = Output.parse(out, [".mgz"], overwrite)
    if model is not None:
        require_folder(model)
    limit_threads(threads)
    from morphogen import api

    with busy("compressing"):
        found = api.compress(
            model,
            data,
            target.path,
            split=split,
            with_model=with_model,
            this_machine_only=this_machine_only,
            compare=compare,
            quality=quality,
        )
    emit(None, found.to_dict(), json, warnings=found.warnings, lines=[*lines_of(found), f"wrote {found.path}"])
