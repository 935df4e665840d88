"""The verb show."""

from __future__ import annotations

from morphogen.cli.console import print_fields, print_json, print_table, print_text
from morphogen.cli.models import require_folder
from morphogen.cli.options import Json, Model

EXAMPLE = "morphogen show runs/first"


def show(
    model: Model,
    json: Json = False,
) -> None:
    """Describe a model: what it is, what it was trained on and how, and what is known of it."""
    require_folder(model)
    from morphogen import api

    found = api.describe(model).to_dict()
    if json:
        print_json(found)
        return
    from morphogen.report.schemas import HEADERS, schema_facts, schema_rows
    from morphogen.report.tables import RESULT_HEADERS, results_rows

    table = found["data"].pop("table", None)
    print_fields({name: value for name, value in found.items() if name != "evaluations"})
    if table is not None:
        print_fields(schema_facts(table))
        print_table(HEADERS, schema_rows(table))
    if found["evaluations"]:
        print_table(RESULT_HEADERS, results_rows(entry["result"] for entry in found["evaluations"]))
    else:
        held_out = found["data"]["source"] if "test" in found["data"]["splits"] else "SOURCE"
        print_text(f"not evaluated yet: morphogen evaluate {model} --data {held_out}")
