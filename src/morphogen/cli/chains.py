"""Verbs that show what a denoiser does: chain, variances."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from morphogen import UsageError
from morphogen.cli.console import Json, busy, print_json, print_text
from morphogen.cli.options import Class, Grid, Guidance, Model, Stepper, Steps, Text
from morphogen.cli.outputs import Output, Overwrite, labels, npz, png

FORWARD, REVERSE = "forward: x_t ~ q(x_t | x_0)", "reverse: from noise to samples"


def chain(
    model: Model,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE.png|.gif|.npz", help="Rows over time, an animation, or arrays.")
    ],
    data: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="Show its records turning into noise, too.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many records, and how many samples.")] = 6,
    times: Annotated[
        int | None, typer.Option("--times", metavar="M", min=2, help="Columns, 10 by default; frames, every step.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Where the noise starts; as of `sample`.")] = 0,
    label: Class = None,
    text: Text = None,
    stepper: Stepper = None,
    steps: Steps = None,
    grid: Grid = None,
    guidance: Guidance = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Show a diffusion or flow model at work: noise on its way to samples, below records on their way into noise.

    Of the reverse chain both the states x_t and the estimates E[x_0 | x_t] are shown; it ends at what `sample` draws.
    """
    target = Output.parse(out, [".png", ".gif", ".npz"], overwrite)
    from morphogen import api

    how: dict[str, Any] = {"stepper": stepper, "steps": steps, "grid": grid, "guidance": guidance}
    every = None if target.format == ".gif" else 10
    with busy("following the chain"):
        reverse = api.reverse_chain(model, n, seed, label=label, text=text, times=times or every, **how)
        shown = len(reverse.t)
        forward = None if data is None else api.forward_chain(model, data, n, times=shown, seed=seed)
    if target.format == ".npz":
        target.write(npz(_arrays(reverse, forward)))
    elif target.format == ".gif":
        target.write(_animated(reverse, forward))
    else:
        recipe = {"model": str(model), "data": data, "seed": seed, "class": label, "text": text, **how}
        target.write(png(_drawn(reverse, forward), recipe))
    if json:
        said = {"warnings": list(reverse.warnings)} if reverse.warnings else {}
        print_json({"out": str(target.path), "n": n, "times": shown, **said})
    else:
        for warning in reverse.warnings:
            print_text(f"warning: {warning}")
        print_text(f"wrote {target.path}")


def variances(
    model: Model,
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="Where the records come from.")],
    out: Annotated[str, typer.Option("--out", metavar="FILE.png|FILE.npz", help="A plot, or arrays.")],
    n: Annotated[int, typer.Option("--n", min=2, help="How many records to average over.")] = 256,
    steps: Steps = None,
    grid: Grid = None,
    seed: Annotated[int, typer.Option("--seed", help="Where the noise starts.")] = 0,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Plot the learned variance of the reverse chain between its two bounds, beside what it should be."""
    target = Output.parse(out, [".png", ".npz"], overwrite)
    from morphogen import api

    with busy("measuring"):
        found = api.variances(model, data, n, steps=steps, grid=grid, seed=seed)
    curves = {name: getattr(found, name) for name in ("beta", "beta_tilde", "learned", "measured", "interval")}
    if target.format == ".npz":
        target.write(npz({"t": found.t, "s": found.s, "log_snr": found.log_snr, **curves, "n": found.n}))
    else:
        from morphogen.report import canvas
        from morphogen.report.chain_plots import variance_figure

        title = f"Reverse variance in {len(found.t) + 1} steps"
        target.write(canvas.png(variance_figure(found.log_snr, **curves, title=title)))
    if json:
        print_json({"out": str(target.path), "n": found.n, "strides": len(found.t)})
    else:
        print_text(f"wrote {target.path}")


def _arrays(reverse: Any, forward: Any) -> dict[str, Any]:
    arrays = {"reverse": reverse.x, "estimate": reverse.estimates, "t": reverse.t, "log_snr": reverse.log_snr}
    arrays |= labels(reverse)
    if forward is not None:
        arrays |= {"forward": forward.x, "forward_t": forward.t, "forward_log_snr": forward.log_snr, "id": forward.ids}
    return arrays


def _drawn(reverse: Any, forward: Any) -> Any:
    from morphogen.report.chain_plots import chain_sheet, stacked

    sheets = [] if forward is None else [chain_sheet({"x_t": _bytes(forward)}, forward.t, forward.log_snr, FORWARD)]
    return stacked([*sheets, chain_sheet(_reverse(reverse), reverse.t, reverse.log_snr, REVERSE)])


def _animated(reverse: Any, forward: Any) -> bytes:
    """Records turn into noise, and noise into samples."""
    from morphogen.report.animations import animation
    from morphogen.report.chain_plots import chain_frames

    frames = chain_frames(_reverse(reverse), reverse.t, reverse.log_snr, "reverse")
    if forward is not None:
        x = _bytes(forward)
        if len(x) < len(reverse.x):
            raise UsageError(
                f"the animation needs as many records as samples, and there are {len(x)}: give --n {len(x)}."
            )
        there = {"x_t": x, "x_0": x[:, :1].repeat(x.shape[1], axis=1)}
        frames = [*chain_frames(there, forward.t, forward.log_snr, "forward"), *frames]
    return animation(frames, frames_per_second=8)


def _reverse(chain: Any) -> dict[str, Any]:
    return {"x_t": _bytes(chain), "E[x_0 | x_t]": _bytes(chain, chain.estimates)}


def _bytes(chain: Any, x: Any = None) -> Any:
    """Pictures as 8 bits (n, m, C, H, W), or the advice to write arrays."""
    from morphogen.report.sheets import to_bytes

    if not chain.spec.is_picture:
        raise UsageError(f"records of shape {chain.spec.shape} are no pictures: give --out FILE.npz.")
    return to_bytes(chain.x if x is None else x, chain.spec)
