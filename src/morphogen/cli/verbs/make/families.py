"""The verb families."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from morphogen.cli.console import print_json, print_table, print_text
from morphogen.cli.flags import flag
from morphogen.cli.options import Json
from morphogen.cli.verbs.make.train import OWN_FLAGS

EXAMPLE = "morphogen families vae"


def families(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A family, for its presets and flags.")] = None,
    json: Json = False,
) -> None:
    """List the families of models, or all that one of them can be told."""
    from morphogen import api

    found = api.list_families() if name is None else api.describe_family(name)
    if json:
        print_json(found)
    elif isinstance(found, list):
        rows = [[f["name"], f["summary"], ", ".join(f["capabilities"]), ", ".join(f["presets"])] for f in found]
        print_table(["family", "what it is", "what it can do", "presets"], rows)
        print_text("which one for your data, and how: morphogen suggest SOURCE")
    else:
        print_text(f"{found['name']}: {found['summary']}")
        print_text(f"can do: {', '.join(found['capabilities'])}", "")
        presets = [
            [f"--preset {preset}", ", ".join(f"{k}={v}" for k, v in options.items())]
            for preset, options in found["presets"].items()
        ]
        print_table(["preset", "sets"], presets)
        print_table(["flag of the model", "type", "default", "what it does"], _flags(found["options"], OWN_FLAGS))
        print_table(["flag of the training", "type", "default", "what it does"], _flags(found["recipe"]))


def _flags(fields: list[dict[str, Any]], taken: Sequence[str] = ()) -> list[list[str]]:
    """A row for each field; flags that are `taken` mean something else in `train`, so only Python sets the field."""
    names = [flag(f["name"]) for f in fields]
    shown = [f"{f['name']} (Python)" if name in taken else name for f, name in zip(fields, names, strict=True)]
    rest = [[f["in_words"], _default(f["default"]), str(f["description"] or "")] for f in fields]
    return [[name, *row] for name, row in zip(shown, rest, strict=True)]


def _default(value: Any) -> str:
    """A default as one would write it on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(str(v) for v in value)
    return "none" if value is None else str(value)
