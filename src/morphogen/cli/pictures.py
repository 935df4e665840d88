"""Verbs that make pictures: sample, reconstruct, interpolate, levels, manifold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import Json, busy, print_json, print_text
from morphogen.cli.options import (
    Candidates,
    Class,
    Grid,
    Guidance,
    Model,
    Precision,
    Seed,
    Stepper,
    Steps,
    Temperature,
    Text,
    Truncation,
)
from morphogen.cli.outputs import FOLDER, Output, Overwrite, labels, npz, png

HOW = (
    "temperature",
    "stepper",
    "steps",
    "grid",
    "guidance",
    "avoid",
    "guidance_interval",
    "autoguidance",
    "truncation",
    "candidates",
)
Source = Annotated[str, typer.Option("--data", metavar="SOURCE", help="Where the records come from.")]


def sample(
    model: Model,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|FILE.npz|DIR/", help="A sheet, arrays, or files.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 64,
    seed: Seed = 0,
    label: Class = None,
    text: Text = None,
    exact: Annotated[bool, typer.Option("--exact", help="The same bits whatever n is.")] = False,
    temperature: Temperature = None,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    avoid: Annotated[
        str | None, typer.Option("--avoid", metavar="K", help="A class that guidance leads away from.")
    ] = None,
    guidance_interval: Annotated[
        str | None,
        typer.Option("--guidance-interval", metavar="A,B", help="Guide from t = A to B alone: 0 record, 1 noise."),
    ] = None,
    autoguidance: Annotated[
        float | None, typer.Option("--autoguidance", metavar="W", help="Away from the weaker part guide; 1 is none.")
    ] = None,
    truncation: Truncation = None,
    candidates: Candidates = None,
    precision: Precision = "fp32",
    compile: Annotated[
        bool, typer.Option("--compile", help="Diffusion and flows: compile first. Pays where thousands are drawn.")
    ] = False,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw new records from a model."""
    target = Output.parse(out, [".png", ".npz", FOLDER], overwrite)
    from morphogen import api

    how: dict[str, Any] = {"temperature": temperature, "stepper": stepper, "steps": steps}
    how |= {"grid": grid, "guidance": guidance, "avoid": avoid, "guidance_interval": _interval(guidance_interval)}
    how |= {"autoguidance": autoguidance, "truncation": truncation, "candidates": candidates}
    recipe: dict[str, Any] = {"verb": "sample", "model": str(model), "fingerprint": api.fingerprint(model), "n": n}
    recipe |= {"seed": seed, "class": label, "text": text, "exact": exact, "precision": precision}
    recipe |= {"compile": compile, **how}
    with busy("sampling"):
        drawn = _sampled(model, recipe)
    if target.format == ".npz":
        target.write(npz({"x": drawn.x, **labels(drawn), "text": text, "seed": seed}))
    elif target.format == ".png":
        target.write(png(_picture(drawn), {**recipe, "index": f"0-{n - 1}"}))
    else:
        target.write_folder(_files(drawn, recipe))
    _done(target, n, json, drawn.warnings)


def sampled_again(model: Path, recipe: Mapping[str, Any]) -> Any:
    """The image that `sample` made by this recipe."""
    from morphogen.report.sheets import picture

    drawn, index = _sampled(model, recipe), recipe["index"]
    return picture(_bytes(drawn)[index]) if isinstance(index, int) else _picture(drawn)


def _sampled(model: Path, recipe: Mapping[str, Any]) -> Any:
    from morphogen import api

    how: dict[str, Any] = {name: recipe.get(name) for name in HOW}  # older files know fewer
    said = {name: recipe[name] for name in ("text", "exact", "precision")}
    said["compile"] = recipe.get("compile", False)
    return api.sample(model, recipe["n"], recipe["seed"], label=recipe["class"], **said, **how)


def reconstruct(
    model: Model,
    data: Source,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|FILE.npz", help="A sheet, or arrays.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many.")] = 16,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Pass held-out records through a model: originals above, reconstructions below."""
    target = Output.parse(out, [".png", ".npz"], overwrite)
    from morphogen import api

    with busy("reconstructing"):
        originals, copies = api.reconstruct(model, data, n)
    if target.format == ".npz":
        target.write(npz({"original": originals.x, "reconstruction": copies.x, "id": originals.ids}))
    else:
        target.write(png(_pairs(originals, copies), {"model": str(model), "data": data}))
    _done(target, len(originals.x), json)


def interpolate(
    model: Model,
    data: Source,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|.gif|.npz", help="A sheet, an animation, or arrays.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many pairs.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=2, help="How many pictures from one to the other.")] = 8,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Walk between pairs of held-out records in latent space: a row, or an animation, for each pair."""
    target = Output.parse(out, [".png", ".gif", ".npz"], overwrite)
    from morphogen import api
    from morphogen.report.animations import animation
    from morphogen.report.sheets import sheet

    with busy("interpolating"):
        grid = api.interpolate(model, data, n, steps=steps)
    if target.format == ".npz":
        target.write(npz({"x": grid.x, "id": grid.ids}))
    else:
        x = _bytes(grid)
        walks = x.reshape(-1, steps, *x.shape[1:])
        if target.format == ".gif":
            there = [sheet(walks[:, i]) for i in range(steps)]
            target.write(animation([*there, *there[-2:0:-1]], frames_per_second=8, hold_s=0))
        else:
            target.write(png(sheet(x, columns=steps), {"model": str(model), "data": data, "steps": steps}))
    _done(target, len(grid.x) // steps, json)


def levels(
    model: Model,
    data: Source,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|FILE.npz", help="A sheet, or arrays.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many records.")] = 12,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """What each level of latents knows: held-out records, and what a model makes of their first 0, 1, 2 ... groups."""
    target = Output.parse(out, [".png", ".npz"], overwrite)
    from morphogen import api
    from morphogen.report.sheets import sheet

    with busy("rebuilding"):
        originals, rebuilt = api.levels(model, data, n)
    if target.format == ".npz":
        target.write(npz({"original": originals.x, "levels": rebuilt.x, "id": originals.ids}))
    else:
        import numpy as np

        above, below = _bytes(originals), _bytes(rebuilt)
        rows = len(below) // len(above)
        labels = ["original", *(f"{k} group{'s' * (k != 1)}" for k in range(rows))]
        picture = sheet(np.concatenate((above, below)), columns=len(above), row_labels=labels)
        target.write(png(picture, {"model": str(model), "data": data}))
    _done(target, len(originals.x), json)


def manifold(
    model: Model,
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|FILE.npz", help="A sheet, or arrays.")],
    n: Annotated[int, typer.Option("--n", min=2, help="Places in each direction.")] = 20,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Decode the whole latent plane of a model with two latents, such as `train vae --preset classic` makes."""
    target = Output.parse(out, [".png", ".npz"], overwrite)
    from morphogen import api
    from morphogen.report.sheets import sheet

    with busy("decoding"):
        grid = api.manifold(model, n)
    if target.format == ".npz":
        target.write(npz({"x": grid.x}))
    else:
        target.write(png(sheet(_bytes(grid), columns=n), {"model": str(model)}))
    _done(target, n * n, json)


def _interval(text: str | None) -> tuple[float, float] | None:
    """A,B as two numbers."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--guidance-interval takes two times, such as 0.2,0.8 (got {text!r}).") from None
    return low, high


def _done(target: Output, n: int, json: bool, warnings: Sequence[str] = ()) -> None:
    if json:
        print_json({"out": str(target.path), "n": n} | ({"warnings": list(warnings)} if warnings else {}))
        return
    for warning in warnings:
        print_text(f"warning: {warning}")
    print_text(f"wrote {target.path}")


def _bytes(pictures: Any) -> Any:
    """Pictures as 8 bits (N, C, H, W), or the advice to write arrays."""
    from morphogen.report.sheets import to_bytes

    if not pictures.spec.is_picture:
        raise UsageError(f"records of shape {pictures.spec.shape} are no pictures: give --out FILE.npz.")
    return to_bytes(pictures.x, pictures.spec)


def _picture(pictures: Any) -> Any:
    """A sheet; a scatter plot for points in the plane."""
    if pictures.spec.shape == (2,):
        import io

        from PIL import Image

        from morphogen.report import canvas
        from morphogen.report.points import scatter

        return Image.open(io.BytesIO(canvas.png(scatter(pictures.x))))
    from morphogen.report.sheets import sheet

    return sheet(_bytes(pictures))


def _files(pictures: Any, recipe: dict[str, Any]) -> dict[str, bytes]:
    from morphogen.report.sheets import picture

    x = _bytes(pictures)
    width = max(5, len(str(len(x) - 1)))
    return {f"{i:0{width}}.png": png(picture(x[i]), {**recipe, "index": i}) for i in range(len(x))}


def _pairs(originals: Any, copies: Any) -> Any:
    """Rows of originals, each with the row of their reconstructions below it."""
    import numpy as np

    from morphogen.report.sheets import GAP, sheet

    above, below = _bytes(originals), _bytes(copies)
    n = len(above)
    columns = next((c for c in range(16, 7, -1) if n % c == 0), min(n, 16))  # full rows if that is possible
    rows = -(-n // columns)
    room = np.full((rows, 2, columns, *above.shape[1:]), GAP[0], np.uint8)
    for row in range(rows):
        part = slice(row * columns, (row + 1) * columns)
        room[row, 0, : len(above[part])] = above[part]
        room[row, 1, : len(below[part])] = below[part]
    labels = ["original", "reconstruction"] * rows
    return sheet(room.reshape(-1, *above.shape[1:]), columns=columns, row_labels=labels)
