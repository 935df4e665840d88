"""Options that several verbs share."""

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

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model directory.")]
Seed = Annotated[int, typer.Option("--seed", help="Picture i depends on the seed and i alone.")]
Class = Annotated[str | None, typer.Option("--class", metavar="K", help="A class, by name or number.")]
Text = Annotated[str | None, typer.Option("--text", metavar="PROMPT", help="In words, what it shows.")]
Negative = Annotated[
    str | None, typer.Option("--negative", metavar="PROMPT", help="In words, what guidance leads away from.")
]
Stepper = Annotated[
    str | None, typer.Option("--stepper", metavar="NAME", help="ddpm, ddim, euler, heun, dpm++2m, unipc, ...")
]
Steps = Annotated[
    int | None, typer.Option("--steps", metavar="N", min=1, help="From noise to record; the model's own by default.")
]
Grid = Annotated[
    str | None, typer.Option("--grid", metavar="NAME", help="Times of the steps: uniform, karras, angle, ...")
]
Guidance = Annotated[
    float | None, typer.Option("--guidance", metavar="W", help="Towards the class or text; 1 is none.")
]
Truncation = Annotated[
    float | None, typer.Option("--truncation", metavar="T", help="Below 1: latents nearer to their mean.")
]
Candidates = Annotated[
    int | None,
    typer.Option(
        "--candidates", metavar="K", min=1, help="GANs: each sample is the discriminator's choice of so many."
    ),
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", metavar="T", help="Below 1: less variety, cleaner; 1 as trained.")
]
Precision = Annotated[
    str, typer.Option("--precision", metavar="P", help="fp32, bf16 (faster), or auto: bf16 where hardware has it.")
]


def checked(verb: Callable[..., None], numbers: bool = True) -> Callable[..., None]:
    """The verb, which begins with a check of its numbers (`core/limits.py`) and paths, before anything is loaded.

    `~` becomes the user's home. Raises `UsageError`.
    """

    @wraps(verb)
    def run(**options: Any) -> None:
        given = {name: _at_home(name, value) for name, value in options.items()}
        known = WHOLE.keys() | REAL.keys() if numbers else ()
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
