"""Options that several verbs share: one name, one meaning and one help everywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from morphogen.core.errors import UsageError
from morphogen.core.limits import REAL, WHOLE, check_numbers

_PATHS = ("out", "sheet", "samples", "network")  # options that are text, and paths
_CONDITION, _SAMPLING, _GUIDANCE, _COMPUTING, _OUTPUT = "What it shows", "Sampling", "Guidance", "Computing", "Output"

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A model directory, or emoji or portraits of the package.")
]
Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture file.")]
Data = Annotated[str, typer.Option("--data", metavar="SOURCE", help="Where the records come from.")]
N = Annotated[int, typer.Option("--n", min=1, help="How many.")]
Seed = Annotated[int, typer.Option("--seed", metavar="S", help="Where the noise starts; equal seeds, equal results.")]

Class = Annotated[
    str | None, typer.Option("--class", metavar="K", help="A class, by name or number.", rich_help_panel=_CONDITION)
]
Text = Annotated[
    str | None, typer.Option("--text", metavar="PROMPT", help="In words, what it shows.", rich_help_panel=_CONDITION)
]

Attributes = Annotated[
    str | None,
    typer.Option(
        "--attribute",
        metavar="NAME=V,NAME=A..B",
        help="Wanted attributes: a value, or a range.",
        rich_help_panel=_CONDITION,
    ),
]

Stepper = Annotated[
    str | None,
    typer.Option(
        "--stepper",
        metavar="NAME",
        help="unipc-angle, ddpm, ddim, euler, heun, dpm++2m, ...",
        rich_help_panel=_SAMPLING,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        metavar="N",
        min=1,
        help="From noise to record; the model's own by default.",
        rich_help_panel=_SAMPLING,
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(
        "--grid",
        metavar="NAME",
        help="Times of the steps: auto, uniform, karras, angle, ...",
        rich_help_panel=_SAMPLING,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        metavar="T",
        help="Below 1: less variety, cleaner; 1 as trained.",
        rich_help_panel=_SAMPLING,
    ),
]
Truncation = Annotated[
    float | None,
    typer.Option("--truncation", metavar="T", help="Below 1: latents nearer to their mean.", rich_help_panel=_SAMPLING),
]
Candidates = Annotated[
    int | None,
    typer.Option(
        "--candidates",
        metavar="K",
        min=1,
        help="GANs: each sample is the discriminator's choice of so many.",
        rich_help_panel=_SAMPLING,
    ),
]

Guidance = Annotated[
    float | None,
    typer.Option("--guidance", metavar="W", help="Towards the class or text; 1 is none.", rich_help_panel=_GUIDANCE),
]
Negative = Annotated[
    str | None,
    typer.Option(
        "--negative", metavar="PROMPT", help="In words, what guidance leads away from.", rich_help_panel=_GUIDANCE
    ),
]
Avoid = Annotated[
    str | None,
    typer.Option("--avoid", metavar="K", help="A class that guidance leads away from.", rich_help_panel=_GUIDANCE),
]
GuidanceInterval = Annotated[
    str | None,
    typer.Option(
        "--guidance-interval",
        metavar="A,B",
        help="Guide from t = A to B alone: 0 record, 1 noise.",
        rich_help_panel=_GUIDANCE,
    ),
]
Autoguidance = Annotated[
    float | None,
    typer.Option(
        "--autoguidance",
        metavar="W",
        help="Away from the weaker part guide; 1 is none.",
        rich_help_panel=_GUIDANCE,
    ),
]

Exact = Annotated[
    bool,
    typer.Option("--exact", help="The same bits whatever else is drawn.", rich_help_panel=_COMPUTING),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size", metavar="N", min=1, help="How many are computed together.", rich_help_panel=_COMPUTING
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="P",
        help="fp32, bf16 (faster), or auto: bf16 where hardware has it.",
        rich_help_panel=_COMPUTING,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="D",
        help="cpu, cuda, cuda:N, or auto: a GPU where there is one.",
        rich_help_panel=_COMPUTING,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="Processor threads; all by default.", rich_help_panel=_COMPUTING
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=_OUTPUT)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.", rich_help_panel=_OUTPUT)]


def checked(verb: Callable[..., None], numbers: bool = True) -> Callable[..., None]:
    """The verb, which begins with a check of its numbers (`core/limits.py`) and paths, before anything is loaded.

    `~` becomes the user's home. Raises `UsageError`.
    """

    @wraps(verb)
    def run(**options: Any) -> None:
        given = {name: _at_home(name, value) for name, value in options.items()}
        known = WHOLE.keys() | REAL.keys() if numbers else {"threads"}
        check_numbers(**{name: v for name, v in given.items() if name in known and isinstance(v, int | float)})
        verb(**given)

    return run


def _at_home(name: str, value: Any) -> Any:
    """The value of an option; where it is a path, with the user's home."""
    if isinstance(value, list):
        return [_at_home(name, one) for one in value]
    if isinstance(value, Path):
        return Path(_at_home("out", str(value)))
    if name not in _PATHS or not isinstance(value, str):
        return value
    if "\0" in value or not value:
        raise UsageError(f"--{name}: a path has at least one character, and no NUL among them (got {value!r}).")
    return os.path.expanduser(value)
