"""The verb decompress."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from morphogen import DataError
from morphogen.cli.console import busy
from morphogen.cli.models import limit_threads, require_folder
from morphogen.cli.options import Json, Overwrite, Threads
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
    overwrite: Overwrite = False,
) -> None:
    """Read the records of an archive. Damaged blocks are left out and named, and the exit status is then 1."""
    target = Output.parse(out, [FOLDER, ".npz"], overwrite)
    if model is not None:
        require_folder(model)
    limit_threads(threads)
    from morphogen import api

    n, seconds, warnings = 0, time.perf_counter(), list[str]()
    with busy("decompressing"):
        if target.format == FOLDER:  # block by block, so that it may be larger than memory
            for block in api.decompressing(file, model, target.path, overwrite=overwrite):
                n, warnings = n + len(block), [*warnings, *block.warnings]
        else:
            found = api.decompress(file, model, target.path)
            n, warnings = len(found), list(found.warnings)
    seconds = round(time.perf_counter() - seconds, 2)
    emit(target, {"records": n, "seconds": seconds}, json, warnings=warnings)
    if warnings:
        raise DataError(f"{file} is damaged: {n:,} records are saved. {'; '.join(warnings[:3])}.")
