"""Pictures of prompts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Pictures
from morphogen.api.results.shown import warn_of
from morphogen.applications.prompt_grids import draw_prompts
from morphogen.applications.records import as_stored


def draw(
    model: AnyModel,
    prompts: str | Sequence[str],
    n: int | None = None,
    seed: int = 0,
    *,
    negative: str | None = None,
    to: str | None = None,
    frames: int = 8,
    along: Mapping[str, Sequence[float]] | None = None,
    label: str | int | None = None,
    guidance: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    autoguidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | Mapping[str, Sequence[float]] | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    options: Mapping[str, Any] | None = None,
    exact: bool = False,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> Pictures:
    """Draw `n` pictures of each prompt in a row. Picture j of a prompt depends on it, seed and j alone.

    Args:
        model: a held model that reads text, or the path of its directory.
        prompts: one or several; `(words:1.3)` count 1.3 times.
        n: pictures of each prompt, by default 4, and 1 along something.
        seed: where the noise starts.
        negative: a prompt that guidance leads away from.
        to: another prompt, to which the pictures lead in `frames` steps: n rows, each of the same noise.
        frames: pictures on that way.
        along: {"guidance": scales} or {"seed": seeds}: the first picture of each prompt at each of them, in columns.
        label, guidance, guidance_interval, autoguidance, stepper, steps, grid, temperature, truncation, candidates,
            options, exact, batch_size, device, precision: as of `sample`, with which it agrees at the same guidance.
            Where the model was trained to also draw without a condition, and says nothing else, guidance is 4.

    Returns:
        The pictures, row by row of `columns`, and in `options` those of sampling in effect.

    Raises:
        UsageError: a model that reads no text, options that its family does not take, a negative prompt at guidance 1.

    Example:
        >>> mg.draw("runs/words", "a small red circle", n=4).save("circles.png")
    """
    if isinstance(grid, Mapping):
        warnings.warn("draw(grid={...}) is now draw(along={...}).", DeprecationWarning, stacklevel=2)
        along, grid = grid, None
    given: dict[str, Any] = {"guidance": guidance, "guidance_interval": guidance_interval, "autoguidance": autoguidance}
    given |= {"stepper": stepper, "steps": steps, "grid": grid, "temperature": temperature}
    given |= {"truncation": truncation, "candidates": candidates, **(options or {})}
    family = open_model(model, device).module
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    way: dict[str, Any] = {"negative": negative, "to": to, "frames": frames, "grid": along, "label": label}
    way |= {"exact": exact, "batch_size": batch_size, "precision": precision, "options": given}
    found = draw_prompts(family, texts, n, seed, **way)
    x = as_stored(found.x.flatten(0, 1), family.data)
    labels = None if found.row is None else np.full(len(x), found.row)
    return Pictures(x, family.data, None, labels, warn_of(found.notes), columns=found.x.shape[1], options=found.options)
