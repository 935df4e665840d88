"""The verb chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import busy
from morphogen.cli.models import hold
from morphogen.cli.options import (
    BatchSize,
    Class,
    Device,
    Grid,
    Guidance,
    Json,
    Model,
    N,
    Overwrite,
    Seed,
    Stepper,
    Steps,
    Text,
    Threads,
)
from morphogen.cli.outputs import PICTURE, Output, emit, keep, require_pictures

if TYPE_CHECKING:
    from PIL.Image import Image

    from morphogen.api import Chain

EXAMPLE = "morphogen chain runs/first --data digits --n 4 --out chain.gif"
FORWARD, REVERSE = "forward: x_t ~ q(x_t | x_0)", "reverse: from noise to samples"


def chain(
    model: Model,
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE.png|.jpg|.webp|.gif|.npz", help="Rows over time, an animation, or arrays."),
    ],
    data: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="Show its records turning into noise, too.")
    ] = None,
    n: N = 6,
    times: Annotated[
        int | None, typer.Option("--times", metavar="M", min=2, help="Columns, 10 by default; frames, every step.")
    ] = None,
    seed: Seed = 0,
    label: Class = None,
    text: Text = None,
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
    """Show a diffusion or flow model at work: noise on its way to samples, below records on their way into noise.

    Of the reverse chain both the states x_t and the estimates E[x_0 | x_t] are shown; it ends at what `sample` draws.
    """
    target = Output.parse(out, [*PICTURE, ".gif", ".npz"], overwrite)
    how: dict[str, Any] = {"stepper": stepper, "steps": steps, "grid": grid, "guidance": guidance}
    every = None if target.format == ".gif" else 10
    with busy("following the chain"):
        held = hold(model, device, threads)
        reverse = held.reverse_chain(
            n, seed, label=label, text=text, times=times or every, batch_size=batch_size, **how
        )
        shown = len(reverse.t)
        forward = None if data is None else held.forward_chain(data, n, times=shown, seed=seed, batch_size=batch_size)
    if target.format == ".gif":
        target.write(_animated(reverse, forward))
    else:
        recipe = {"verb": "chain", "model": str(model), "data": data, "n": n, "times": shown, "seed": seed}
        recipe |= {"class": label, "text": text, **how}
        keep(target, reverse, recipe, arrays=_arrays(reverse, forward), image=lambda: _drawn(reverse, forward))
    emit(target, {"n": n, "times": shown}, json, warnings=reverse.warnings)


def _arrays(reverse: Chain, forward: Chain | None) -> dict[str, Any]:
    arrays: dict[str, Any] = {"reverse": reverse.x, "estimate": reverse.estimates, "t": reverse.t}
    arrays |= {"log_snr": reverse.log_snr, "labels": reverse.labels}
    arrays["class_names"] = None if reverse.labels is None else list(reverse.spec.classes)
    if forward is not None:
        arrays |= {"forward": forward.x, "forward_t": forward.t, "forward_log_snr": forward.log_snr, "id": forward.ids}
    return arrays


def _drawn(reverse: Chain, forward: Chain | None) -> Image:
    from morphogen.report.chain_plots import chain_sheet, stacked

    sheets = [] if forward is None else [chain_sheet(forward.rows, forward.t, forward.log_snr, FORWARD)]
    return stacked([*sheets, chain_sheet(reverse.rows, reverse.t, reverse.log_snr, REVERSE)])


def _animated(reverse: Chain, forward: Chain | None) -> bytes:
    """Records turn into noise, and noise into samples."""
    from morphogen.report.animations import animation
    from morphogen.report.chain_plots import chain_frames

    require_pictures(reverse.spec)
    frames = chain_frames(reverse.rows, reverse.t, reverse.log_snr, "reverse")
    if forward is not None:
        x = forward.rows["x_t"]
        if len(x) < len(reverse.x):
            raise UsageError(
                f"the animation needs as many records as samples, and there are {len(x)}: give --n {len(x)}."
            )
        there = {"x_t": x, "x_0": x[:, :1].repeat(x.shape[1], axis=1)}
        frames = [*chain_frames(there, forward.t, forward.log_snr, "forward"), *frames]
    return animation(frames, frames_per_second=8)
