"""The verb families."""

from __future__ import annotations

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
        print_table(["flag of the model", "type", "default", "what it does"], _flags(found["options"]))
        recipe = [[flag(f["name"]), *row[1:]] for f, row in zip(found["recipe"], _flags(found["recipe"]), strict=True)]
        print_table(["flag of the training", "type", "default", "what it does"], recipe)


def _flags(fields: list[dict[str, Any]]) -> list[list[str]]:
    return [[_named(f["name"]), f["in_words"], _default(f["default"]), str(f["description"] or "")] for f in fields]


def _named(name: str) -> str:
    """The flag of an option; where `train` has a flag of that name that means something else, the option itself."""
    return f"{name} (Python)" if flag(name) in OWN_FLAGS else flag(name)


def _default(value: Any) -> str:
    """A default as one would write it on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(str(v) for v in value)
    return "none" if value is None else str(value)
