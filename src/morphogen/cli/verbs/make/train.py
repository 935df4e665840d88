"""The verb train."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen import MorphogenError, UsageError
from morphogen.cli.console import print_json, print_note, print_text
from morphogen.cli.flags import parse_fields
from morphogen.cli.models import limit_threads
from morphogen.cli.options import Json, Threads
from morphogen.cli.watching import BEGAN, is_leader, watch
from morphogen.core.printable import shortened

EXAMPLE = "morphogen train vae --data digits --out runs/first --budget 5min --latent-dim 8"
OWN_FLAGS = (
    "--data",
    "--out",
    "--budget",
    "--steps",
    "--epochs",
    "--seed",
    "--device",
    "--threads",
    "--resume",
    "--preset",
    "--start",
    "--config",
    "--dry-run",
    "--log",
    "--part",
    "--json",
)


def train(
    context: typer.Context,
    family: Annotated[
        str | None, typer.Argument(metavar="FAMILY", help="`morphogen families` lists them.", show_default=False)
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="What to learn from.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="The model directory to make.")] = None,
    budget: Annotated[str | None, typer.Option("--budget", metavar="T", help="How long: 10min, 2h, +10min.")] = None,
    steps: Annotated[str | None, typer.Option("--steps", metavar="N", help="How many steps: 2000, +1000.")] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", metavar="N", help="How often to see all records.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="S", help="Where all randomness starts.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="D", help="cpu, cuda, cuda:N, or auto, the default.")
    ] = None,
    threads: Threads = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out; needs no other flag.")] = False,
    preset: Annotated[str | None, typer.Option("--preset", metavar="P", help="A named set of options.")] = None,
    start: Annotated[Path | None, typer.Option("--start", metavar="MODEL", help="Begin with its weights.")] = None,
    part: Annotated[
        list[str] | None, typer.Option("--part", metavar="NAME=MODEL", help="A trained model that it stands on.")
    ] = None,
    config: Annotated[  # `cli/config_file.py` has put its flags in its place
        Path | None, typer.Option("--config", metavar="FILE", help="A file of options, one `name: value` a line.")
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", metavar="FORM", help="Also write the log as csv, tensorboard, or both: a,b.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan: steps, passes, memory, time; then stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a model. Any option of the family or of the training is a flag too.

    For example --latent-dim 16 --hidden 500,500 --batch-size 64 --free-bits=0.1 --no-flips;
    `morphogen families FAMILY` lists them with their types, defaults and meanings.

    `morphogen train --resume --out DIR` goes on with an interrupted training; `--budget +10min` or
    `--steps +1000` beside it makes a training longer.

    A --config FILE has one `name: value` a line, named as the flags are; flags win.
    """
    if family is not None and family.startswith("-"):
        raise UsageError(f"the family comes before its flags: morphogen train FAMILY ... {family} ...")
    if steps is not None and not re.fullmatch(r"\+?0{0,9}[1-9]\d{0,9}", steps):
        raise UsageError(
            f"--steps takes a whole number from 1 to 1,000,000,000, or +N beside --resume (got {shortened(steps)!r})."
        )
    number: str | int | None = int(steps) if steps is not None and steps.isdigit() else steps
    chosen = {"budget": budget, "steps": number, "epochs": epochs, "seed": seed, "device": device}
    given = {name: value for name, value in chosen.items() if value is not None}
    if steps is not None and epochs is not None:
        raise UsageError("--steps and --epochs both say how long to train: give one, and a --budget if you like.")
    if resume and out is None and family is not None:
        raise UsageError(
            f"--out is missing: to go on with the run in a folder, morphogen train --resume --out {family}."
        )
    if not resume and any(str(length).startswith("+") for length in (budget, steps)):
        raise UsageError("a length with a + makes a training longer that there is: add --resume.")
    if out is None and not dry_run:
        raise UsageError("--out is missing: the folder that the model is to be written to.")
    if family is None and not resume:
        raise UsageError(f"the family is missing: morphogen train FAMILY --data SOURCE --out {out}.")
    if data is None and not resume:
        raise UsageError("--data is missing: what to learn from, such as a folder of pictures or digits.")
    limit_threads(threads)
    from morphogen import api
    from morphogen.api import resuming

    if dry_run and (resume or family is None or data is None):
        raise UsageError("--dry-run plans a training that begins: morphogen train FAMILY --data SOURCE --dry-run.")
    if family is None and (out is None or not resuming.holds_run(out)):
        raise UsageError(
            f"{out} holds no run to resume; to begin one: morphogen train FAMILY --data SOURCE --out {out}."
        )
    if family is None:
        assert out is not None
        family = resuming.family_of(out)
    known = api.describe_family(family)
    own = [field for field in known["recipe"] if f"--{field['name']}" not in OWN_FLAGS]
    options, recipe = parse_fields(context.args, [known["options"], own], OWN_FLAGS)
    how: dict[str, Any] = {"preset": preset, "start": start, "parts": _parts(part or [])}
    how |= {"options": options, "recipe": {**recipe, **given}, "began": BEGAN}
    if dry_run:
        assert data is not None
        found = api.plan(family, data, **how)
        if json:
            print_json(found.to_dict())
        else:
            print_text(*found.lines())
        return
    assert out is not None
    hinted = json

    def tell(line: str) -> None:
        nonlocal hinted
        if not hinted:  # now there is a run to look at
            print_note(f"to look on, from another terminal: morphogen watch {shlex.quote(str(out))}")
            hinted = True
        print_note(line)

    events = api.training(family, data, out, resume=resume, on_plan=tell, log=log, **how)
    try:
        last = watch(events, family)
    except KeyboardInterrupt:
        if not resuming.holds_run(out):
            raise MorphogenError("stopped by Ctrl-C before the first step.") from None
        raise MorphogenError(
            f"stopped by Ctrl-C. {out} holds the checkpoint; morphogen train --resume --out {shlex.quote(str(out))}"
            " goes on from there."
        ) from None
    if not is_leader():
        return
    if json:
        print_json({"out": str(out), "step": last.step, "elapsed_s": last.elapsed_s, "terms": last.terms})
        return
    print_text(f"trained {family} for {last.step:,} steps: {out}")
    about = api.describe(out).to_dict()
    if (about.get("data") or {}).get("text") and api.load(out, "cpu").module.conditional:
        print_text(f'next: morphogen draw {out} "a caption of yours" --n 8 --out drawn.png')
    elif "Samples" in known["capabilities"]:
        print_text(f"next: morphogen sample {out} --n 64 --out samples.png")
    else:
        print_text(f"next: morphogen reconstruct {out} --data {data or 'SOURCE'} --out reconstructions.png")


def _parts(given: list[str]) -> dict[str, str]:
    """NAME=MODEL, each name once."""
    pairs = [text.partition("=") for text in given]
    parts = {name: model for name, _, model in pairs}
    if len(parts) < len(pairs) or not all(name and equals and model for name, equals, model in pairs):
        came = " and ".join(given)
        raise UsageError(f"--part takes NAME=MODEL, each name once, such as autoencoder=runs/first (got {came}).")
    return parts
