"""The verb restore."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import (
    BatchSize,
    Class,
    Device,
    Grid,
    Guidance,
    Image,
    Json,
    Model,
    Overwrite,
    Seed,
    Stepper,
    Steps,
    Text,
    Threads,
)
from morphogen.cli.verbs.use.restored import One, Out, Samples, parse_targets, write_restored

EXAMPLE = "morphogen restore runs/first blurred.png --degradation blur1.5 --out sharp.png"


def restore(
    model: Model,
    image: Image,
    out: Out,
    degradation: Annotated[
        str | None,
        typer.Option(
            "--degradation", metavar="D", help="down4, blur1.5, noise0.2 or gray; by default what it was trained for."
        ),
    ] = None,
    n: Samples = 8,
    sample: One = False,
    label: Class = None,
    text: Text = None,
    seed: Seed = 0,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Undo what a picture has been through: the mean of what it may have been, and FILE-uncertainty.png beside it.

    By a model trained on data with a context=, or by any diffusion or flow model of pictures.
    """
    targets = parse_targets(out, overwrite, sample)
    how: dict[str, Any] = {"n": n, "seed": seed, "text": text, "stepper": stepper, "steps": steps, "grid": grid}
    how["guidance"] = guidance
    with busy("restoring"):
        found = hold(model, device, threads).restore(image, degradation, label=label, batch_size=batch_size, **how)
    recipe = {
        "verb": "restore",
        "model": str(model),
        "image": str(image),
        "degradation": degradation,
        "class": label,
        **how,
    }
    write_restored(targets, found, recipe, sample, json)
