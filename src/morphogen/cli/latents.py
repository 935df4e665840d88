"""Verbs that move through latent space: walk, directions, edit-latent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import Json, busy, print_json, print_table, print_text
from morphogen.cli.options import Class, Guidance, Model, Stepper, Steps, Temperature, Text, Truncation
from morphogen.cli.outputs import Output, Overwrite, npz, png
from morphogen.report.tables import MISSING, number, span


def walk(
    model: Model,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE.gif|.apng|.png|.npz", help="An animation, a sheet, or arrays.")
    ],
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=2, help="Pictures in all.")] = 96,
    stops: Annotated[int, typer.Option("--stops", metavar="K", min=2, help="Samples that it leads through.")] = 6,
    fps: Annotated[float, typer.Option("--fps", metavar="F", min=0.1, max=50, help="Pictures a second.")] = 16.0,
    seed: Annotated[int, typer.Option("--seed", help="Its stops are the first samples of this seed.")] = 0,
    label: Class = None,
    text: Text = None,
    truncation: Truncation = None,
    temperature: Temperature = None,
    stepper: Stepper = None,
    steps: Steps = None,
    guidance: Guidance = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Walk through samples of a model that turn into each other, and at the end into the first one."""
    target = Output.parse(out, [".gif", ".apng", ".png", ".npz"], overwrite)
    if frames < stops:
        raise UsageError(f"a walk through {stops} stops needs at least as many frames: --frames {frames}.")
    from morphogen import api
    from morphogen.report.animations import animation
    from morphogen.report.sheets import sheet, to_bytes

    how: dict[str, Any] = {"truncation": truncation, "temperature": temperature, "stepper": stepper, "steps": steps}
    how |= {"guidance": guidance}
    with busy("walking"):
        made = api.walk(model, frames, stops, seed, label=label, text=text, **how)
    if target.format == ".npz":
        target.write(npz({"x": made.x, "stops": stops, "seed": seed}))
    elif not made.spec.is_picture:
        raise UsageError(f"records of shape {made.spec.shape} are no pictures: give --out FILE.npz.")
    else:
        x = to_bytes(made.x, made.spec)
        if target.format == ".png":
            recipe = {"verb": "walk", "model": str(model), "frames": frames, "stops": stops, "seed": seed}
            columns = frames // stops if frames % stops == 0 else None  # a row from each stop to the next
            target.write(png(sheet(x, columns=columns), {**recipe, "class": label, "text": text, **how}))
        else:
            pictures = [sheet(x[i : i + 1]) for i in range(frames)]
            target.write(animation(pictures, suffix=target.format, frames_per_second=fps, hold_s=0))
    if json:
        print_json({"out": str(target.path), "frames": frames, "stops": stops, "warnings": list(made.warnings)})
        return
    for warning in made.warnings:
        print_text(f"warning: {warning}")
    print_text(f"wrote {target.path}")


def directions(
    model: Model,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="Also those of its classes and attributes.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE.npz", help="Keep them, for edit-latent.")] = None,
    factors: Annotated[
        int, typer.Option("--factors", metavar="K", min=0, help="How many of the model's own, strongest first.")
    ] = 10,
    n: Annotated[int, typer.Option("--n", min=10, help="Encode so many records, and half as many to measure.")] = 500,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Find directions of a model's latent space: its own, and those along which a class or an attribute changes.

    How well a direction orders records is measured on held-out ones: the share of pairs, one that has the property and
    one that lacks it, of which it puts the right one ahead. Chance is 0.5.
    """
    target = Output.parse(out, [".npz"], overwrite) if out else None
    from morphogen import api

    with busy("finding directions"):
        found = api.directions(model, data, factors=factors, n=n)
    if target is not None:
        target.write(npz(found.arrays()))
    pairs = [tuple(map(float, pair)) for pair in found.interval]
    rows = list(zip(found.names, map(float, found.ordered), pairs, strict=True))
    if json:
        measured = [
            {"name": name, "ordered": share, "interval": pair, "n": found.n, "baseline": 0.5}
            if share == share  # not for those that no records were needed for
            else {"name": name}
            for name, share, pair in rows
        ]
        where = {} if target is None else {"out": str(target.path)}
        print_json({**where, "directions": measured, "warnings": list(found.warnings)})
        return
    cells = [
        [name, number(share, pair), span(pair), number(found.n), "chance 0.5"]
        if share == share
        else [name, MISSING, MISSING, MISSING, MISSING]
        for name, share, pair in rows
    ]
    print_table(["direction", "pairs in order", "95% interval", "n", "baseline"], cells)
    for warning in found.warnings:
        print_text(f"warning: {warning}")
    if target is not None:
        print_text(f"wrote {target.path}")


def edit_latent(
    model: Model,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture file.")],
    direction: Annotated[
        list[str], typer.Option("--direction", metavar="NAME", help="factor-1 ..., or one in --directions; repeatable.")
    ],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE.png|FILE.npz", help="The picture (a strip of several), or arrays.")
    ],
    strength: Annotated[
        str, typer.Option("--strength", metavar="S,...", help="Standard deviations of the latents, to either side.")
    ] = "3",
    directions: Annotated[
        Path | None, typer.Option("--directions", metavar="FILE.npz", help="What `morphogen directions` kept.")
    ] = None,
    label: Class = None,
    text: Text = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Move a picture along directions of a model's latent space: encode, step, decode.

    Several strengths make a row, such as --strength -3,-1,0,1,3, where 0 is the model's own rendering; each further
    --direction makes another one.
    """
    target = Output.parse(out, [".png", ".npz"], overwrite)
    strengths = _strengths(strength)
    from morphogen import api
    from morphogen.report.sheets import picture, sheet, to_bytes

    with busy("editing"):
        made = api.edit_latent(model, image, direction, strengths, directions=directions, label=label, text=text)
    recipe: dict[str, Any] = {"verb": "edit-latent", "model": str(model), "image": str(image), "direction": direction}
    recipe |= {"strength": strengths, "directions": None if directions is None else str(directions)}
    if target.format == ".npz":
        target.write(npz({"x": made.x, "direction": direction, "strength": strengths, "rmse": made.rmse}))
    else:
        x = to_bytes(made.x, made.spec)
        labels = [f"{s:+g}" if s else "0" for s in strengths]
        strip = picture(x[0]) if len(x) == 1 else None
        strip = strip or sheet(x, columns=len(strengths), row_labels=direction, column_labels=labels)
        target.write(png(strip, {**recipe, "class": label, "text": text}))
    if json:
        measured = {"rmse": made.rmse, "rmse_of_mean_picture": made.baseline}
        print_json({"out": str(target.path), "n": len(made.x), **measured, "warnings": list(made.warnings)})
        return
    for warning in made.warnings:
        print_text(f"warning: {warning}")
    beside = "" if made.baseline is None else f"; the mean of its samples: {number(made.baseline)}"
    print_text(f"the model's own rendering is off by {number(made.rmse)} of 255 (root mean square{beside})")
    print_text(f"wrote {target.path}")


def _strengths(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--strength takes numbers, such as 3 or -3,0,3 (got {text!r}).") from None
