"""Verbs that draw from words: draw, attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import DataError, UsageError
from morphogen.cli.console import Json, busy, print_json, print_text
from morphogen.cli.options import (
    Candidates,
    Class,
    Guidance,
    Model,
    Negative,
    Precision,
    Seed,
    Stepper,
    Steps,
    Temperature,
    Truncation,
)
from morphogen.cli.outputs import FOLDER, Output, Overwrite, npz, png

HOW = ("stepper", "steps", "guidance", "truncation", "candidates", "temperature")  # options of families
_SIGNS = {"guidance": "w", "seed": "seed"}  # above columns of small pictures
_LABEL = 60  # letters beside a row


def draw(
    model: Model,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE.png|DIR/", help="A sheet (one picture as it is), or files.")
    ],
    prompt: Annotated[
        str | None, typer.Argument(metavar="[PROMPT]", help="What to draw; (words:1.3) count more.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE.txt", help="A prompt in each line; # begins a comment.")
    ] = None,
    negative: Negative = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="PROMPT", help="The way from the prompt to this one, a row of pictures."),
    ] = None,
    frames: Annotated[int, typer.Option("--frames", metavar="N", min=2, help="Pictures on that way.")] = 8,
    grid: Annotated[
        str | None,
        typer.Option("--grid", metavar="guidance=W,...|seed=S,...", help="Prompts in rows, these in columns."),
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many of each prompt; 4, in a grid 1.")] = None,
    seed: Seed = 0,
    label: Class = None,
    stepper: Stepper = None,
    steps: Steps = None,
    guidance: Guidance = None,
    truncation: Truncation = None,
    candidates: Candidates = None,
    temperature: Temperature = None,
    exact: Annotated[bool, typer.Option("--exact", help="The same bits whatever else is drawn.")] = False,
    precision: Precision = "fp32",
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw what a prompt says. `morphogen recall` draws the pixels of the file again.

    Where a model was trained to draw without a prompt, too, and says nothing else, guidance is 4.
    """
    target = Output.parse(out, [".png", FOLDER], overwrite)
    if (prompt is None) == (prompts is None):
        raise UsageError("draw takes a prompt, or a file of them with --prompts: give one of the two.")
    recipe: dict[str, Any] = {"verb": "draw", "model": str(model)}
    recipe |= {"prompts": _lines(prompts) if prompts is not None else [prompt], "negative": negative, "to": to}
    recipe |= {"frames": frames, "grid": _grid(grid), "n": n or (4 if grid is None else 1)}
    recipe |= {"seed": seed, "class": label, "exact": exact}
    recipe |= {"precision": precision, "stepper": stepper, "steps": steps, "guidance": guidance}
    recipe |= {"truncation": truncation, "candidates": candidates, "temperature": temperature}
    from morphogen import api

    recipe["fingerprint"] = api.fingerprint(model)
    with busy("drawing"):
        made = _drawn(model, recipe)
    recipe |= made.options
    if target.format == ".png":
        recipe["index"] = 0 if len(made.x) == 1 else None
        target.write(png(_image(made, recipe), recipe))
    else:
        each = [_alone(recipe, i, made.columns) for i in range(len(made.x))]
        width = max(5, len(str(len(each) - 1)))
        pixels = _bytes(made)
        target.write_folder({f"{i:0{width}}.png": png(_picture(pixels[i]), own) for i, own in enumerate(each)})
    if json:
        print_json(
            {"out": str(target.path), "n": len(made.x), "options": dict(made.options), "warnings": made.warnings}
        )
        return
    for warning in made.warnings:
        print_text(f"warning: {warning}")
    print_text(f"wrote {target.path}")


def attention(
    model: Model,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw, as of `draw`.")],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE.png|FILE.npz", help="A row for each picture, or pictures and maps.")
    ],
    n: Annotated[int, typer.Option("--n", min=1, max=64, help="How many pictures.")] = 1,
    seed: Seed = 0,
    negative: Negative = None,
    label: Class = None,
    stepper: Stepper = None,
    steps: Steps = None,
    guidance: Guidance = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Show which word drew what: the pictures of `draw`, and for each word where cross-attention looked at it.

    In one row, the same color is the same share of attention.
    """
    target = Output.parse(out, [".png", ".npz"], overwrite)
    from morphogen import api
    from morphogen.report.overlays import overlays
    from morphogen.report.sheets import sheet

    asked: dict[str, Any] = {"negative": negative, "stepper": stepper, "steps": steps, "guidance": guidance}
    with busy("drawing"):
        found = api.attention_maps(model, prompt, n, seed, label=label, **asked)
    if target.format == ".npz":
        target.write(npz({"x": found.x, "maps": found.maps, "words": list(found.words), "seed": seed}))
    else:
        rows = overlays(_bytes(found), found.maps)
        image = sheet(rows.reshape(-1, *rows.shape[2:]), columns=rows.shape[1], column_labels=["", *found.words])
        recipe = {"verb": "attention", "model": str(model), "prompt": prompt, "n": n, "seed": seed, "class": label}
        target.write(png(image, {**recipe, **asked}))
    shares = [(word, float(found.maps[:, i].mean())) for i, word in enumerate(found.words)]
    if json:
        said = [{"word": word, "share": share} for word, share in shares]
        print_json({"out": str(target.path), "n": n, "words": said, "warnings": found.warnings})
        return
    for warning in found.warnings:
        print_text(f"warning: {warning}")
    print_text("share of attention: " + ", ".join(f"{word} {share:.1%}" for word, share in shares))
    print_text(f"wrote {target.path}")


def _drawn(model: Path, recipe: Mapping[str, Any]) -> Any:
    from morphogen import api

    how: dict[str, Any] = {name: recipe.get(name) for name in HOW}  # older files know fewer
    said = {name: recipe[name] for name in ("negative", "to", "frames", "exact", "precision")}
    said["along"] = recipe["grid"]
    return api.draw(model, recipe["prompts"], recipe["n"], recipe["seed"], label=recipe["class"], **said, **how)


def drawn_again(model: Path, recipe: Mapping[str, Any]) -> Any:
    """The image that `draw` made by this recipe."""
    return _image(_drawn(model, recipe), recipe)


def _image(made: Any, recipe: Mapping[str, Any]) -> Any:
    """One picture as it is, or the sheet of all, with prompts beside rows and what differs above columns."""
    from morphogen.report.sheets import sheet

    pixels, index, prompts = _bytes(made), recipe["index"], recipe["prompts"]
    if index is not None:
        return _picture(pixels[index])
    rows, columns = [_short(text) for text in prompts], made.columns
    above: list[str] = []
    if recipe["grid"] is not None:
        ((along, values),) = recipe["grid"].items()
        above = [f"{_SIGNS[along]}={value:g}" for value in values]
    elif recipe["to"] is not None:
        above, rows = [f"{i / (columns - 1):.2g}" for i in range(columns)], []
    elif len(prompts) == 1:
        rows, columns = [], None
    return sheet(pixels, columns=columns, row_labels=rows, column_labels=above)


def _alone(recipe: Mapping[str, Any], i: int, columns: int) -> dict[str, Any]:
    """The recipe of picture `i` alone: of its own prompt, and of its own column of a grid."""
    row, column = divmod(i, columns)
    if recipe["to"] is not None:
        return {**recipe, "index": i}
    own = {**recipe, "prompts": [recipe["prompts"][row]], "index": column}
    if recipe["grid"] is not None:
        ((along, values),) = recipe["grid"].items()
        own |= {"grid": None, "n": 1, along: values[column], "index": 0}
        if own["guidance"] == 1.0:  # which leads away from nothing
            own["negative"] = None
    return own


def _bytes(made: Any) -> Any:
    from morphogen.report.sheets import to_bytes

    return to_bytes(made.x, made.spec)


def _picture(pixels: Any) -> Any:
    from morphogen.report.sheets import picture

    return picture(pixels)


def _short(text: str) -> str:
    return text if len(text) <= _LABEL else text[: _LABEL - 3] + "..."


def _lines(path: Path) -> list[str]:
    """The prompts of a file. Raises `DataError` where it has none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected prompts as text, one in each line ({error}).") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise DataError(f"{path} has no prompts: each line that is not empty and does not begin with # is one.")
    return found


def _grid(text: str | None) -> dict[str, Sequence[float]] | None:
    """NAME=A,B,... as a mapping."""
    if text is None:
        return None
    along, _, values = text.partition("=")
    number = int if along.strip() == "seed" else float
    try:
        return {along.strip(): [number(value) for value in values.split(",")]}
    except ValueError:
        raise UsageError(f"--grid takes guidance=1,2,4 or seed=1,2,3 (got {text!r}).") from None
