"""The verb complete."""

from __future__ import annotations

from typing import Annotated

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import Device, Json, Model, N, Overwrite, Seed, Steps, Temperature, Threads
from morphogen.cli.outputs import TEXT, Output, emit

EXAMPLE = 'morphogen complete runs/masked "c1cc(*)ncc1" --n 100 --out completed.smi'


def complete(
    model: Model,
    scaffold: Annotated[str, typer.Argument(metavar="SCAFFOLD", help="SMILES; * marks where something hangs.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE.smi|.npz", help="Molecules, or arrays.")],
    n: N = 64,
    seed: Seed = 0,
    steps: Steps = None,
    temperature: Temperature = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw molecules that hold a scaffold: it stays, and the model draws what hangs on it."""
    target = Output.parse(out, [*TEXT, ".npz"], overwrite)
    with busy("completing"):
        made = hold(model, device, threads).complete(scaffold, n, seed, steps=steps, temperature=temperature)
    target.write_with(made.save)
    emit(target, {"n": len(made)}, json, warnings=made.warnings)
