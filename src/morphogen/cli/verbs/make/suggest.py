"""The verb suggest."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy, print_json, print_text
from morphogen.cli.models import limit_threads
from morphogen.cli.options import Json, Threads

EXAMPLE = "morphogen suggest photos:size=32,resize=crop --budget 10min"


def suggest(
    data: Annotated[str, typer.Argument(metavar="SOURCE", help="What to learn from.")],
    budget: Annotated[str, typer.Option("--budget", metavar="T", help="How long to train: 10min, 2h.")] = "10min",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Say which family to train for which purpose, what to expect, and the command.

    It tries some steps of each family on the data, and writes nothing.
    """
    limit_threads(threads)
    from morphogen import api

    with busy("trying some steps of each family"):
        found = api.suggest(data, budget)
    if json:
        print_json([one.to_dict() for one in found])
        return
    for one in found:
        plan, *_ = one.plan.lines()
        late = "" if not one.plan.hopeless else f" Too short: {'; '.join(one.plan.ways_out)}."
        print_text(f"{one.family}: {one.purpose}", f"  {plan}", f"  expect: {one.expected}.{late}", f"  {one.command}")
