"""What upscale and restore share: a picture as it may have been, and beside it how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.outputs import PICTURE, Output, emit, keep

if TYPE_CHECKING:
    from morphogen.api import Restored

Out = Annotated[
    str, typer.Option("--out", metavar="FILE.png|.jpg|.webp|.npz", help="The picture, or all samples as arrays.")
]
Samples = Annotated[int, typer.Option("--n", min=2, help="How many samples.")]
One = Annotated[bool, typer.Option("--sample", help="Write the first sample instead of the mean: sharp, one of many.")]


def parse_targets(out: str, overwrite: bool, sample: bool) -> list[Output]:
    """Where the picture goes, and its uncertainty, which arrays hold themselves."""
    target = Output.parse(out, [*PICTURE, ".npz"], overwrite)
    if target.format == ".npz":
        if sample:
            raise UsageError("--sample chooses what is to be seen, and arrays hold all samples: leave it out.")
        return [target]
    beside = target.path.with_name(f"{target.path.stem}-uncertainty.png")
    return [target, Output.parse(str(beside), [".png"], overwrite)]


def write_restored(targets: list[Output], found: Restored, recipe: Mapping[str, Any], sample: bool, json: bool) -> None:
    """The picture and its uncertainty: gray, from 0 to the largest standard deviation, which is white."""
    shown = {**recipe, "shows": "sample 0" if sample else "mean"}
    arrays = {**found.arrays(), "seed": recipe["seed"]}
    keep(targets[0], found, shown, arrays=arrays, image=found.sample_image if sample else found.image)
    facts: dict[str, Any] = {"n": recipe["n"]}
    lines = []
    for beside in targets[1:]:
        deviation = {**recipe, "shows": "standard deviation", "white": found.white}
        keep(beside, found, deviation, image=found.map)
        facts |= {"uncertainty": str(beside.path), "white": found.white}
        lines = [f"wrote {beside.path}: white is a standard deviation of {found.white:.3g}, of 0 to 255"]
    emit(targets[0], facts, json, warnings=found.warnings, lines=lines)
