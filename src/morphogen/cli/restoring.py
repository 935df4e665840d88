"""Verbs that work on a user's own picture: edit, upscale, restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import Json, busy, print_json, print_text
from morphogen.cli.options import Class, Grid, Guidance, Model, Negative, Seed, Stepper, Steps, Text
from morphogen.cli.outputs import FOLDER, Output, Overwrite, labels, npz, png

Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture file.")]
Out = Annotated[str, typer.Option("--out", metavar="FILE.png|FILE.npz", help="The picture, or all samples as arrays.")]
Number = Annotated[int, typer.Option("--n", min=2, help="How many samples.")]
One = Annotated[bool, typer.Option("--sample", help="Write the first sample instead of the mean: sharp, one of many.")]


def edit(
    model: Model,
    image: Image,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE.png|FILE.npz|DIR/", help="The picture (a sheet of several), or files.")
    ],
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="FILE", help="A picture of the same size: redraw what is white.")
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", metavar="T", help="Up to 1, which forgets what is redrawn.")
    ] = 0.6,
    label: Class = None,
    text: Text = None,
    negative: Negative = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 1,
    seed: Seed = 0,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="At the picture's own size, in windows of the model's size.")
    ] = False,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Redraw a picture, or the part of it that a mask says, by a diffusion or flow model."""
    target = Output.parse(out, [".png", ".npz", FOLDER], overwrite)
    from morphogen import api
    from morphogen.report.sheets import picture, sheet, to_bytes

    how: dict[str, Any] = {"stepper": stepper, "steps": steps, "grid": grid, "guidance": guidance}
    asked: dict[str, Any] = {"strength": strength, "n": n, "seed": seed, "tiles": tiles}
    with busy("editing"):
        made = api.edit(model, image, mask=mask, label=label, text=text, negative=negative, **asked, **how)
    recipe = {"verb": "edit", "model": str(model), "image": str(image), "mask": None if mask is None else str(mask)}
    recipe |= {"class": label, "text": text, "negative": negative, **asked, **how}
    if target.format == ".npz":
        target.write(npz({"x": made.x, **labels(made), "seed": seed}))
    else:
        pixels = to_bytes(made.x, made.spec)
        if target.format == ".png":
            target.write(png(picture(pixels[0]) if n == 1 else sheet(pixels, scale=1), recipe))
        else:
            width = max(5, len(str(n - 1)))
            files = {f"{i:0{width}}.png": png(picture(pixels[i]), {**recipe, "index": i}) for i in range(n)}
            target.write_folder(files)
    if json:
        print_json({"out": str(target.path), "n": n, "warnings": list(made.warnings)})
        return
    for warning in made.warnings:
        print_text(f"warning: {warning}")
    print_text(f"wrote {target.path}")


def upscale(
    model: Model,
    image: Image,
    out: Out,
    scale: Annotated[int, typer.Option("--scale", min=2, help="How many times as large.")] = 4,
    n: Number = 8,
    sample: One = False,
    label: Class = None,
    text: Text = None,
    seed: Seed = 0,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Enlarge a picture: the mean of what it may have been, and beside it FILE-uncertainty.png, how sure that is.

    By a model trained on data with context=downSCALE, or by any diffusion or flow model of pictures.
    """
    how: dict[str, Any] = {"stepper": stepper, "steps": steps, "grid": grid, "guidance": guidance}
    asked: dict[str, Any] = {"n": n, "seed": seed}
    targets = _targets(out, overwrite, sample)
    from morphogen import api

    with busy("enlarging"):
        found = api.upscale(model, image, scale, label=label, text=text, **asked, **how)
    recipe = {"verb": "upscale", "model": str(model), "image": str(image), "scale": scale, "class": label}
    _write(targets, found, {**recipe, "text": text, **asked, **how}, sample, json)


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
    n: Number = 8,
    sample: One = False,
    label: Class = None,
    text: Text = None,
    seed: Seed = 0,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Undo what a picture has been through: the mean of what it may have been, and FILE-uncertainty.png beside it.

    By a model trained on data with a context=, or by any diffusion or flow model of pictures.
    """
    how: dict[str, Any] = {"stepper": stepper, "steps": steps, "grid": grid, "guidance": guidance}
    asked: dict[str, Any] = {"n": n, "seed": seed}
    targets = _targets(out, overwrite, sample)
    from morphogen import api

    with busy("restoring"):
        found = api.restore(model, image, degradation, label=label, text=text, **asked, **how)
    recipe = {"verb": "restore", "model": str(model), "image": str(image), "degradation": degradation, "class": label}
    _write(targets, found, {**recipe, "text": text, **asked, **how}, sample, json)


def _targets(out: str, overwrite: bool, sample: bool) -> list[Output]:
    """Where the picture goes, and its uncertainty, which arrays hold themselves."""
    target = Output.parse(out, [".png", ".npz"], overwrite)
    if target.format == ".npz":
        if sample:
            raise UsageError("--sample chooses what is to be seen, and arrays hold all samples: leave it out.")
        return [target]
    beside = target.path.with_name(f"{target.path.stem}-uncertainty.png")
    return [target, Output.parse(str(beside), [".png"], overwrite)]


def _write(targets: list[Output], found: Any, recipe: dict[str, Any], sample: bool, json: bool) -> None:
    """The picture and its uncertainty: gray, from 0 to the largest standard deviation, which is white."""
    from morphogen.report.sheets import picture, to_bytes

    if targets[0].format == ".npz":
        arrays = {name: getattr(found, name) for name in ("samples", "mean", "stddev", "uncertainty")}
        targets[0].write(npz({**arrays, "seed": recipe["seed"]}))
        said: dict[str, Any] = {"out": str(targets[0].path), "n": recipe["n"]}
    else:
        import numpy as np

        uncertainty = found.uncertainty * (255.0 / (found.spec.levels - 1))
        white = float(uncertainty.max())
        shades = np.rint(uncertainty * (255.0 / max(white, 1e-12))).astype(np.uint8)
        shown = {**recipe, "shows": "sample 0" if sample else "mean"}
        chosen = found.samples[0] if sample else found.mean
        targets[0].write(png(picture(to_bytes(chosen[None], found.spec)[0]), shown))
        targets[1].write(png(picture(shades[None]), {**recipe, "shows": "standard deviation", "white": white}))
        said = {"out": str(targets[0].path), "n": recipe["n"], "uncertainty": str(targets[1].path), "white": white}
    if json:
        print_json({**said, "warnings": list(found.warnings)})
        return
    for warning in found.warnings:
        print_text(f"warning: {warning}")
    print_text(f"wrote {targets[0].path}")
    if len(targets) > 1:
        print_text(f"wrote {targets[1].path}: white is a standard deviation of {said['white']:.3g}, of 0 to 255")
