"""The verb data inspect."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import print_fields, print_json, print_pictures, print_table, print_text
from morphogen.cli.options import Json, Overwrite
from morphogen.cli.outputs import PICTURE, Output

EXAMPLE = "morphogen data inspect digits --sheet digits.png"
SHOWN = 10  # groups of duplicates
LISTED = 100  # classes, and records that cannot be used


def inspect(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A named set, a folder of pictures, or a file: .npz, .txt, .smi, .csv, .parquet."
        ),
    ],
    sheet: Annotated[
        str | None, typer.Option("--sheet", metavar="FILE.png|.jpg|.webp", help="Write a picture sheet too.")
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option("--schema", metavar="FILE.yaml", help="Write the schema of a table, to change and to keep."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Describe data: its DataSpec, class balance, duplicates, unreadable records, and a picture sheet or a schema."""
    target = Output.parse(sheet, PICTURE, overwrite) if sheet else None
    schema_file = Output.parse(schema, [".yaml", ".yml"], overwrite) if schema else None
    from morphogen import api
    from morphogen.report import saving, sheets

    found = api.inspect_data(source)
    pictures = found.examples(32) if found.spec.is_picture else None
    if target is not None:
        if pictures is None:
            raise UsageError(
                f"--sheet {sheet}: {found.spec.name} holds records of shape {found.spec.shape}, no pictures."
            )
        target.write(saving.picture_file(sheets.sheet(pictures, columns=16), {"data": source}, target.format))
    if schema_file is not None:
        if found.spec.table is None:
            raise UsageError(f"--schema {schema}: {found.spec.name} is no table.")
        schema_file.write(found.schema.encode())
    if json:
        print_json(found.to_dict())
        return
    _describe(found.to_dict())
    if schema_file is not None:
        print_text(f"schema  {schema_file.path}")
    if pictures is not None:
        print_pictures(pictures)
    if target is not None:
        print_text(f"sheet  {target.path}")


def _describe(found: dict[str, Any]) -> None:
    """An inspection in words: the DataSpec, records by split and class, duplicates, problems by name."""
    tabled = ("classes", "splits", "table", *(("preprocessing", "shift", "scale") if found["spec"]["table"] else ()))
    print_fields({k: v for k, v in found["spec"].items() if k not in tabled and v not in (None, "", [], {})})
    if found["spec"]["table"] is not None:
        from morphogen.report.schemas import HEADERS, schema_facts, schema_rows

        print_fields(schema_facts(found["spec"]["table"]))
        print_table(HEADERS, schema_rows(found["spec"]["table"]))
    elif found["sequences"] is None:
        print_text(f"values in the data: {found['low']:g} to {found['high']:g}")
    else:
        print_fields(found["sequences"])
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
    if found["changes"]:
        print_text(f"records that reading changed: {len(found['changes'])}")
    for change in found["changes"][:SHOWN]:
        print_text(f"  {change['record']}: {change['what']}")
    if len(found["changes"]) > SHOWN:
        print_text(f"  and {len(found['changes']) - SHOWN:,} more; all of them with --json")
    for note in found["notes"]:
        print_text(f"note: {note}")
