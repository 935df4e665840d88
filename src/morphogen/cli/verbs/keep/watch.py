"""The verb watch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from morphogen.cli.console import print_note, print_text
from morphogen.cli.models import require_folder

EXAMPLE = "morphogen watch runs/first"
EVERY_S = 5.0


def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a training.")],
    page: Annotated[
        Path | None, typer.Option("--page", metavar="FILE.html", help="DIR/samples/watch.html by default.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Write the page once.")] = False,
) -> None:
    """Write a page that shows a training while it runs: newest samples, curves, warnings.

    It is written again every five seconds until the training ends, and loads itself again in a browser.
    """
    require_folder(folder)
    from morphogen import api

    page = page or folder / "samples" / "watch.html"
    found = api.follow(folder)
    print_text(f"wrote {found.save(page)}")
    while not once and not found.standing.ended:
        time.sleep(EVERY_S)
        found = api.follow(folder)
        found.save(page)
        print_note(str(found))
