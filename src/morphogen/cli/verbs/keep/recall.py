"""The verb recall: the pixels of a file drawn again, by the recipe that it carries."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from morphogen import DataError, MorphogenError, UsageError
from morphogen.cli.console import busy
from morphogen.cli.models import hold, limit_threads
from morphogen.cli.options import BatchSize, Device, Json, Overwrite, Threads
from morphogen.cli.outputs import Output, emit
from morphogen.cli.verbs.use.draw import drawn_again
from morphogen.cli.verbs.use.sample import sampled_again
from morphogen.core.printable import shortened
from morphogen.core.reading import parse_json, read_bytes
from morphogen.core.shipped import located

if TYPE_CHECKING:
    from PIL.Image import Image

    from morphogen.api import Model as Held

EXAMPLE = "morphogen recall circles.png --out again.png"
MAX_BYTES = 1 << 30  # of a file
MAX_PIXELS = 10**8
_AGAIN: dict[str, Callable[[Held, Mapping[str, Any], int | None], Image]] = {
    "draw": drawn_again,
    "sample": sampled_again,
}


def recall(
    file: Annotated[Path, typer.Argument(metavar="FILE.png", help="What `draw` or `sample` wrote.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE.png", help="The picture or sheet, drawn again.")],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="DIR", help="Where the model is now; by default below the file's folder or this one."
        ),
    ] = None,
    batch_size: BatchSize = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw a file again by the recipe in it, and compare: --exact pixels bit for bit, others to within 1 of 255."""
    target = Output.parse(out, [".png"], overwrite)
    import numpy as np

    recipe, old = _read(file)
    where = _model(file, recipe["model"]) if model is None else located(model)
    if where is None or not where.is_dir():
        raise UsageError(
            f"{file} was drawn by the model {recipe['model']!r}, which is not beside it nor in the current folder: say"
            " with --model where it is."
        )
    limit_threads(threads)
    from morphogen import api
    from morphogen.report.saving import png

    if (came := api.fingerprint(where)) != recipe["fingerprint"]:
        raise MorphogenError(
            f"{where} is not the model that drew {file}: expected the fingerprint {recipe['fingerprint'][:16]}, got"
            f" {came[:16]}. Say with --model where that one is."
        )
    try:
        with busy("drawing"):
            image = _AGAIN[recipe["verb"]](hold(where, device), recipe, batch_size)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
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
    kind = "an exact recipe, to be met bit for bit" if recipe["exact"] else "a recipe to be met to within 1 of 255"
    line = f"{kind}: {'the same pixels' if off == 0 else f'pixels differ by up to {off}'}"
    emit(target, {"exact": recipe["exact"], "largest_difference": off}, json, lines=[line])


def _model(file: Path, name: str) -> Path | None:
    """The model of this name below the folder of the file or below the current one, or of the package.

    A recipe may be anybody's, so that it leads nowhere else.
    """
    path = Path(name)
    if path.is_absolute() or path.drive or ".." in path.parts or not path.parts:
        return None
    return next((place for place in (file.parent / path, path, located(path)) if place.is_dir()), None)


def _read(file: Path) -> tuple[dict[str, Any], Any]:
    """The recipe in a PNG file, and its pixels. Raises `DataError` where it holds none that can be drawn again."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read_bytes(file, MAX_BYTES)), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has {image.width} x {image.height} pixels, and at most {MAX_PIXELS:,} are read")
            pixels, text = np.asarray(image), getattr(image, "text", {}).get("morphogen")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: expected a PNG picture, got something unreadable ({error}).") from None
    if text is None:
        raise DataError(
            f"{file} holds no recipe: morphogen did not write it, or a program that saved it anew left the recipe out."
        )
    try:
        found = parse_json(text)
    except ValueError as error:
        raise DataError(f"{file}: its recipe is no JSON object ({error}).") from None
    if not isinstance(found, dict):
        raise DataError(f"{file}: its recipe is no JSON object (it is a {type(found).__name__}).")
    verb = found.get("verb", "sample")
    if verb not in list(_AGAIN):
        said = shortened(str(verb))
        raise DataError(f"{file} was made by `morphogen {said}`; known to be drawn again are {', '.join(_AGAIN)}.")
    if not {"exact", "model", "fingerprint"} <= found.keys():
        raise DataError(f"{file}: its recipe does not say which model drew it, as those of older versions.")
    from morphogen.cli.verbs.keep import recipes

    return recipes.parse({**found, "verb": verb}, str(file)), pixels
