"""The verb verify."""

from __future__ import annotations

from morphogen.cli.console import print_fields, print_json
from morphogen.cli.models import require_folder
from morphogen.cli.options import Json, Model

EXAMPLE = "morphogen verify runs/first"


def verify(model: Model, json: Json = False) -> None:
    """Check that a model directory is whole and unaltered, file by file."""
    require_folder(model)
    from morphogen import api

    found = api.verify(model).to_dict()
    if json:
        print_json(found)
    else:
        print_fields(found)
