"""The verb quantize."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import Json, Model, Threads
from morphogen.cli.outputs import emit

EXAMPLE = "morphogen quantize runs/pixels --out runs/integers"


def quantize(
    model: Model,
    out: Annotated[str, typer.Option("--out", metavar="DIR", help="The model directory to make.")],
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="SOURCE", help="To measure the loss on; the model's own data by default."),
    ] = None,
    bits: Annotated[int, typer.Option("--bits", min=4, max=16, help="Of a weight.")] = 16,
    n: Annotated[int, typer.Option("--n", min=1, help="Records to measure and to check by.")] = 1000,
    split: Annotated[str | None, typer.Option("--split", help="Of the data; test by default.")] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Make the integer form of a model, whose archives every machine reads alike, and tell what it costs in bits."""
    with busy("quantizing"):
        found = hold(model, "cpu", threads).quantize(out, data, bits=bits, n=n, split=split)
    before, after = found.bits_per_dim
    lines = [
        f"bits per dimension of {found.n:,} records: {before:.5f} before, {after:.5f} after ({found.loss:+.4%})",
        f"{found.checked:,} outputs of layers computed again by plain integers: all equal",
        f"largest possible sum: {found.largest_sum:.3g}, below 2^53 = 9.01e15",
        f"wrote {found.path} ({found.bytes:,} bytes of weights)",
    ]
    emit(None, found.to_dict(), json, lines=lines)
