"""The verb recall: the pixels of a file drawn again, by the recipe that it carries."""

from __future__ import annotations

import json as encoded
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import DataError, MorphogenError, UsageError
from morphogen.cli.console import Json, busy, print_json, print_text
from morphogen.cli.outputs import Output, Overwrite, png
from morphogen.cli.pictures import sampled_again
from morphogen.cli.words import drawn_again

_AGAIN: dict[str, Callable[[Path, Mapping[str, Any]], Any]] = {"draw": drawn_again, "sample": sampled_again}


def recall(
    file: Annotated[Path, typer.Argument(metavar="FILE.png", help="What `draw` or `sample` wrote.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE.png", help="The picture or sheet, drawn again.")],
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="Where the model is now; by default where it was.")
    ] = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw a file again by the recipe in it, and compare: --exact pixels bit for bit, others to within 1 of 255."""
    import numpy as np

    target = Output.parse(out, [".png"], overwrite)
    recipe, old = _read(file)
    where = Path(recipe["model"]) if model is None else model
    if not where.is_dir():
        raise UsageError(f"{file} was drawn by the model {where}, which is not there: say with --model where it is.")
    from morphogen import api

    if (came := api.fingerprint(where)) != recipe["fingerprint"]:
        raise MorphogenError(
            f"{where} is not the model that drew {file}: expected the fingerprint {recipe['fingerprint'][:16]}, got"
            f" {came[:16]}. Say with --model where that one is."
        )
    try:
        with busy("drawing"):
            image = _AGAIN[recipe["verb"]](where, recipe)
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{file}: its recipe was changed, or is of another version ({error!r}).") from error
    target.write(png(image, {**recipe, "model": str(where)}))
    new = np.asarray(image)
    if new.shape != old.shape:
        raise MorphogenError(f"{target.path} is of shape {new.shape}, and {file} of {old.shape}: {file} was changed.")
    off, promised = int(np.abs(new.astype(int) - old).max()), 0 if recipe["exact"] else 1
    if off > promised:
        raise MorphogenError(
            f"{target.path} differs from {file} by up to {off} of 255, where at most {promised} was promised: {file}"
            f" was changed, or drawn by other software or hardware (morphogen {recipe.get('version')}, torch"
            f" {recipe.get('torch')})."
        )
    if json:
        print_json({"out": str(target.path), "exact": recipe["exact"], "largest_difference": off})
        return
    kind = "an exact recipe, to be met bit for bit" if recipe["exact"] else "a recipe to be met to within 1 of 255"
    print_text(f"{kind}: {'the same pixels' if off == 0 else f'pixels differ by up to {off}'}")
    print_text(f"wrote {target.path}")


def _read(file: Path) -> tuple[dict[str, Any], Any]:
    """The recipe in a PNG file, and its pixels. Raises `DataError` where it holds none that can be drawn again."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(file, formats=("PNG",)) as image:
            pixels, text = np.asarray(image), getattr(image, "text", {}).get("morphogen")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: expected a PNG picture, got something unreadable ({error}).") from None
    if text is None:
        raise DataError(
            f"{file} holds no recipe: morphogen did not write it, or a program that saved it anew left the recipe out."
        )
    try:
        recipe = encoded.loads(text)
        verb = str(recipe.get("verb", "sample"))
        known = "exact" in recipe and all(isinstance(recipe.get(name), str) for name in ("model", "fingerprint"))
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{file}: its recipe is no JSON object ({error}).") from None
    if verb not in _AGAIN:
        raise DataError(f"{file} was made by `morphogen {verb}`; known to be drawn again are {', '.join(_AGAIN)}.")
    if not known:
        raise DataError(f"{file}: its recipe does not say which model drew it, as those of older versions.")
    return {**recipe, "verb": verb}, pixels
