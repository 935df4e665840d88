"""The verb upscale."""

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

EXAMPLE = "morphogen upscale runs/large small.png --scale 4 --out large.png"


def upscale(
    model: Model,
    image: Image,
    out: Out,
    scale: Annotated[int, typer.Option("--scale", min=2, help="How many times as large.")] = 4,
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
    """Enlarge a picture: the mean of what it may have been, and beside it FILE-uncertainty.png, how sure that is.

    By a model trained on data with context=downSCALE, or by any diffusion or flow model of pictures.
    """
    targets = parse_targets(out, overwrite, sample)
    how: dict[str, Any] = {"n": n, "seed": seed, "text": text, "stepper": stepper, "steps": steps, "grid": grid}
    how["guidance"] = guidance
    with busy("enlarging"):
        found = hold(model, device, threads).upscale(image, scale, label=label, batch_size=batch_size, **how)
    recipe = {"verb": "upscale", "model": str(model), "image": str(image), "scale": scale, "class": label, **how}
    write_restored(targets, found, recipe, sample, json)
