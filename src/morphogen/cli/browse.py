"""Verbs that look: families, data inspect, show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import Json, print_fields, print_json, print_pictures, print_table, print_text
from morphogen.cli.flags import flag
from morphogen.cli.outputs import Output, Overwrite, png

SHOWN = 10  # groups of duplicates
LISTED = 100  # classes, and records that cannot be used


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
    else:
        print_text(f"{found['name']}: {found['summary']}")
        print_text(f"can do: {', '.join(found['capabilities'])}", "")
        presets = [
            [f"--preset {preset}", ", ".join(f"{k}={v}" for k, v in options.items())]
            for preset, options in found["presets"].items()
        ]
        print_table(["preset", "sets"], presets)
        print_table(["flag of the model", "type", "default", "what it does"], _flags(found["options"]))
        print_table(["flag of the training", "type", "default", "what it does"], _flags(found["recipe"]))


def inspect(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A named set, a folder of pictures or an .npz file.")],
    sheet: Annotated[str | None, typer.Option("--sheet", metavar="FILE.png", help="Write a picture sheet too.")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Describe data: its DataSpec, class balance, duplicates, unreadable records, and a picture sheet."""
    target = Output.parse(sheet, [".png"], overwrite) if sheet else None
    from morphogen import api
    from morphogen.report import sheets

    found = api.inspect_data(source)
    pictures = found.examples(32) if found.spec.is_picture else None
    if target is not None:
        if pictures is None:
            raise UsageError(
                f"--sheet {sheet}: {found.spec.name} holds records of shape {found.spec.shape}, no pictures."
            )
        target.write(png(sheets.sheet(pictures, columns=16), {"data": source}))
    if json:
        print_json(found.to_dict())
        return
    _describe(found.to_dict())
    if pictures is not None:
        print_pictures(pictures)
    if target is not None:
        print_text(f"sheet  {target.path}")


def show(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory.")],
    json: Json = False,
) -> None:
    """Describe a model: what it is, what it was trained on and how, and what is known of it."""
    from morphogen import api

    found = api.describe(model).to_dict()
    if json:
        print_json(found)
        return
    from morphogen.report.tables import RESULT_HEADERS, results_rows

    print_fields({name: value for name, value in found.items() if name != "evaluations"})
    if found["evaluations"]:
        print_table(RESULT_HEADERS, results_rows(entry["result"] for entry in found["evaluations"]))
    else:
        held_out = found["data"]["source"] if "test" in found["data"]["splits"] else "SOURCE"
        print_text(f"not evaluated yet: morphogen evaluate {model} --data {held_out}")


def _describe(found: dict[str, Any]) -> None:
    """An inspection in words: the DataSpec, records by split and class, duplicates, problems by name."""
    tabled = ("classes", "splits")
    print_fields({k: v for k, v in found["spec"].items() if k not in tabled and v not in (None, "", [], {})})
    print_text(f"values in the data: {found['low']:g} to {found['high']:g}")
    counts, balance = found["counts"], found["balance"]
    classes = list(dict.fromkeys(name for split in balance.values() for name in split))
    listed = classes if len(classes) <= LISTED else classes[:LISTED]
    rows = [[name, *(f"{balance.get(split, {}).get(name, 0):,}" for split in counts)] for name in listed]
    if len(classes) > len(listed):
        rows.append([f"and {len(classes) - len(listed):,} more classes (--json)", *("" for _ in counts)])
    print_table(["class", *counts], [*rows, ["all records", *(f"{n:,}" for n in counts.values())]])
    groups, across = found["duplicates"], found["duplicates_across_splits"]
    print_text(f"exact duplicates: {len(groups)} groups, {len(across)} of them in more than one split")
    for group in (across or groups)[:SHOWN]:
        print_text(f"  {' = '.join(group)}")
    if len(across or groups) > SHOWN:
        print_text(f"  and {len(across or groups) - SHOWN:,} more; all of them with --json")
    if found["files"] is not None:
        print_text(found["files"]["in_words"])
    print_text(f"records that cannot be used: {len(found['problems'])}")
    for problem in found["problems"][:LISTED]:
        print_text(f"  {problem['record']}: {problem['what']}")
    if len(found["problems"]) > LISTED:
        print_text(f"  and {len(found['problems']) - LISTED:,} more; all of them with --json")
    for note in found["notes"]:
        print_text(f"note: {note}")


def _flags(fields: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [flag(f["name"]), _type(str(f["type"])), _default(f["default"]), str(f["description"] or "")] for f in fields
    ]


def _type(annotation: str) -> str:
    """A type as one would say it: "mlp | conv" for a choice, "int,int,..." for a list."""
    said = re.sub(r"Literal\[(.*?)\]", lambda m: m[1].replace(", ", " | ").replace("'", ""), annotation)
    said = re.sub(r"tuple\[(\w+), \.\.\.\]", r"\1,\1,...", said)
    return said.replace("None", "none")


def _default(value: Any) -> str:
    """A default as one would write it on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(str(v) for v in value)
    return "none" if value is None else str(value)
