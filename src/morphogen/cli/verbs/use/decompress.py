"""The verb decompress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphogen import DataError
from morphogen.cli.console import busy
from morphogen.cli.models import limit_threads, require_folder
from morphogen.cli.options import Json, Threads
from morphogen.cli.outputs import FOLDER, Output, emit

EXAMPLE = "morphogen decompress digits.mgz --model runs/integers --out digits.npz"


def decompress(
    file: Annotated[Path, typer.Argument(metavar="FILE.mgz", help="What `compress` wrote.")],
    out: Annotated[str, typer.Option("--out", metavar="DIR|FILE.npz", help="Pictures, or arrays.")],
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="The model, where it is not inside.")
    ] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Read the records of an archive. Damaged blocks are left out and named, and the exit status is then 1."""
    target = Output.parse(out, [FOLDER, ".npz"], overwrite=False)
    if model is not None:
        require_folder(model)
    limit_threads(threads)
    from morphogen import api

    with busy("decompressing"):
        found = api.decompress(file, model, target.path)
    emit(target, {"records": len(found), "seconds": found.seconds}, json, warnings=found.warnings)
    if found.warnings:
        raise DataError(f"{file} is damaged: {len(found):,} records are saved, others are lost. {found.warnings[0]}.")
