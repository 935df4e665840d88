"""The verb curves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphogen.cli.models import require_folder
from morphogen.cli.options import Json, Overwrite
from morphogen.cli.outputs import Output, emit

EXAMPLE = "morphogen curves runs/first --out curves.png"


def curves(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A model, or the folder of a training that runs.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="FILE.png, .svg, .csv or .html.")] = "curves.png",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw the curves of a training: its loss and the parts of it. A .csv has their numbers."""
    target = Output.parse(out, (".png", ".svg", ".csv", ".html"), overwrite)
    require_folder(folder)
    from morphogen import api

    found = api.follow(folder)
    found.save(target.path)
    emit(target, found.to_dict(), json, lines=[str(found)])
