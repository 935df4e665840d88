"""The verb attention."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import (
    Class,
    Device,
    Guidance,
    Json,
    Model,
    Negative,
    Overwrite,
    Seed,
    Stepper,
    Steps,
    Threads,
)
from morphogen.cli.outputs import PICTURE, Output, emit, keep

EXAMPLE = "morphogen attention runs/words 'a small red circle' --n 3 --out words.png"


def attention(
    model: Model,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw, as of `draw`.")],
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE.png|.jpg|.webp|.npz", help="A row for each picture, or pictures and maps."),
    ],
    n: Annotated[int, typer.Option("--n", min=1, max=64, help="How many.")] = 1,
    seed: Seed = 0,
    label: Class = None,
    stepper: Stepper = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Show which word drew what: the pictures of `draw`, and for each word where cross-attention looked at it.

    In one row, the same color is the same share of attention.
    """
    target = Output.parse(out, [*PICTURE, ".npz"], overwrite)
    asked: dict[str, Any] = {"negative": negative, "stepper": stepper, "steps": steps, "guidance": guidance}
    with busy("drawing"):
        found = hold(model, device, threads).attention_maps(prompt, n, seed, label=label, **asked)
    recipe = {"verb": "attention", "model": str(model), "prompt": prompt, "n": n, "seed": seed, "class": label, **asked}
    keep(target, found, recipe, arrays={**found.arrays(), "seed": seed})
    said = [{"word": word, "share": share} for word, share in found.shares]
    line = "share of attention: " + ", ".join(f"{word} {share:.1%}" for word, share in found.shares)
    emit(target, {"n": n, "words": said}, json, warnings=found.warnings, lines=[line])
