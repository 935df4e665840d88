"""The verb quickstart."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from morphogen.cli.console import print_json, print_text
from morphogen.cli.models import limit_threads
from morphogen.cli.options import Json, Threads
from morphogen.cli.watching import watch

EXAMPLE = "morphogen quickstart --out quickstart --budget 6min"


def quickstart(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("quickstart"),
    budget: Annotated[str, typer.Option("--budget", metavar="T", help="How long to take.")] = "6min",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Draw with a model of the package, train four kinds of models, judge them, and write one report to look at.

    A VAE, a GAN, a diffusion model and one that reads learn cartoon portraits and handwritten digits. The report is
    there after some seconds, and fills while they train.
    """
    limit_threads(threads)
    from morphogen.quickstart import next_commands
    from morphogen.quickstart import quickstart as make_report

    moments, report = make_report(out, budget), (out / "report.html").resolve()
    if not json:
        print_text(f"open {report}: it fills while models train")
    last = watch(moments, "quickstart")
    if json:
        print_json({"report": str(report), "elapsed_s": last.elapsed_s})
    else:
        print_text(f"the report is at {report}")
        print_text("next:", *(f"  {command}" for command in next_commands(out)))
