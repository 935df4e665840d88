"""The verb show."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.config_file import written
from morphogen.cli.console import print_fields, print_json, print_table, print_text
from morphogen.cli.models import require_folder
from morphogen.cli.options import Json, Model

EXAMPLE = "morphogen show runs/first"


def show(
    model: Model,
    config: Annotated[
        bool, typer.Option("--config", help="Print it as a file of options for `morphogen train --config`.")
    ] = False,
    json: Json = False,
) -> None:
    """Describe a model: what it is, what it was trained on and how, and what is known of it.

    Of a training that runs it says where that stands, and describes the model that was kept last.
    """
    require_folder(model)
    from morphogen import api
    from morphogen.api.opened import so_far

    if not json and not config and (model / "checkpoint" / "log.jsonl").exists():
        standing = api.follow(model)
        if not standing.standing.ended:
            print_text(str(standing))
            if so_far(model) == model:
                return
    found = api.describe(model).to_dict()
    if config:
        print_text(*written(found))
        return
    if json:
        print_json(found)
        return
    from morphogen.report.schemas import HEADERS, schema_facts, schema_rows
    from morphogen.report.tables import RESULT_HEADERS, results_rows

    table = found["data"].pop("table", None)
    print_fields({name: value for name, value in found.items() if name not in ("evaluations", "audits", "privacy")})
    if found.get("privacy") is not None:
        print_text(f"privacy: {found['privacy']['sentence']}")
    if table is not None:
        print_fields(schema_facts(table))
        print_table(HEADERS, schema_rows(table))
    if found.get("audits"):
        print_table(RESULT_HEADERS, results_rows(entry["result"] for entry in found["audits"]), "audits")
    if found["evaluations"]:
        print_table(RESULT_HEADERS, results_rows(entry["result"] for entry in found["evaluations"]))
    else:
        held_out = found["data"]["source"] if "test" in found["data"]["splits"] else "SOURCE"
        print_text(f"not evaluated yet: morphogen evaluate {model} --data {held_out}")
