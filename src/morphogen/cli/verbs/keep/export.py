"""The verb export."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import Json, Model, Overwrite, Threads
from morphogen.cli.outputs import FOLDER, Output, emit

EXAMPLE = "morphogen export runs/first --out first.onnx"


def export(
    model: Model,
    out: Annotated[str, typer.Option("--out", metavar="FILE|DIR/", help="FILE.onnx, FILE.safetensors, or a folder.")],
    format: Annotated[
        str | None, typer.Option("--format", metavar="F", help="onnx or safetensors; as --out ends by default.")
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option("--graph", metavar="NAME", help="denoiser, decoder, encoder, ...; all of them in a folder."),
    ] = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a model for other programs: ONNX graphs that onnxruntime has checked, or its weights."""
    target = Output.parse(out, [".onnx", ".safetensors", FOLDER], overwrite)
    with busy("exporting"):
        held = hold(model, "cpu", threads)
        found = held.export(target.path, format=format, graph=graph, overwrite=overwrite)  # type: ignore[arg-type]
    emit(None, found.to_dict(), json, lines=found.lines())
