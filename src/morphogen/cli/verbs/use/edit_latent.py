"""The verb edit-latent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import BatchSize, Class, Device, Image, Json, Model, Overwrite, Text, Threads
from morphogen.cli.outputs import PICTURE, Output, emit, keep
from morphogen.report.tables import number

EXAMPLE = "morphogen edit-latent runs/first face.png --direction factor-1 --strength -3,0,3 --out strip.png"


def edit_latent(
    model: Model,
    image: Image,
    direction: Annotated[
        list[str], typer.Option("--direction", metavar="NAME", help="factor-1 ..., or one in --directions; repeatable.")
    ],
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE.png|.jpg|.webp|.npz", help="The picture (a strip of several), or arrays."),
    ],
    strength: Annotated[
        str, typer.Option("--strength", metavar="S,...", help="Standard deviations of the latents, to either side.")
    ] = "3",
    directions: Annotated[
        Path | None, typer.Option("--directions", metavar="FILE.npz", help="What `morphogen directions` kept.")
    ] = None,
    label: Class = None,
    text: Text = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Move a picture along directions of a model's latent space: encode, step, decode.

    Several strengths make a row, such as --strength -3,-1,0,1,3, where 0 is the model's own rendering; each further
    --direction makes another one.
    """
    target = Output.parse(out, [*PICTURE, ".npz"], overwrite)
    strengths = _strengths(strength)
    with busy("editing"):
        held = hold(model, device, threads)
        made = held.edit_latent(
            image, direction, strengths, directions=directions, label=label, text=text, batch_size=batch_size
        )
    recipe: dict[str, Any] = {"verb": "edit-latent", "model": str(model), "image": str(image), "direction": direction}
    recipe |= {"strength": strengths, "directions": None if directions is None else str(directions)}
    keep(target, made, {**recipe, "class": label, "text": text})
    beside = "" if made.baseline is None else f"; the mean of its samples: {number(made.baseline)}"
    emit(
        target,
        {"n": len(made.x), "rmse": made.rmse, "rmse_of_mean_picture": made.baseline},
        json,
        warnings=made.warnings,
        lines=[f"the model's own rendering is off by {number(made.rmse)} of 255 (root mean square{beside})"],
    )


def _strengths(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--strength takes numbers, such as 3 or -3,0,3 (got {text!r}).") from None
