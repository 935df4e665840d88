"""A closed walk through the samples of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import Pictures
from morphogen.api.sampling import pictures_of
from morphogen.applications.sampling import (
    draw_samples,
)
from morphogen.core.chunks import limited
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.sampling.noise import Walk


@limited
def walk(
    model: AnyModel,
    frames: int = 96,
    stops: int = 6,
    seed: int = 0,
    *,
    label: str | int | None = None,
    text: str | None = None,
    guidance: float | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    candidates: int | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Pictures:
    """Draw a closed walk: pictures that turn into each other, through the first `stops` samples of this seed.

    Noise moves on great circles from each stop to the next and from the last to the first (`sampling/noise.py`), so
    that every frame is a sample of the model. Stop k is frame k frames / stops, where that is whole.

    Args:
        model: a held model, or the path of a model directory, that makes its samples from normal noise.
        frames: pictures in all.
        stops: samples that the walk leads through.
        seed: its stops are the first samples of this seed.
        label, text, guidance, stepper, steps, grid, temperature, truncation, candidates, options, device, precision:
            as of `sample`.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The frames in order; frame 0 follows the last one.

    Raises:
        UsageError: fewer than two stops, or fewer frames than stops.
        CapabilityError: a model that also chooses among things that have nothing in between.

    Example:
        >>> mg.walk("runs/first", frames=24, stops=3).save("walk.png")
    """
    given: dict[str, Any] = {"guidance": guidance, "stepper": stepper, "steps": steps, "grid": grid}
    given |= {"temperature": temperature, "truncation": truncation, "candidates": candidates, **(options or {})}
    check_numbers(frames=frames, stops=stops, seed=seed)
    family = open_model(model, device).module
    noise = Walk(Rng(seed, family.device), frames, stops)
    found = draw_samples(family, frames, noise, given, label, text, precision)
    return pictures_of(found, family, columns=frames // stops)
