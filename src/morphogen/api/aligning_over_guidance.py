"""Alignment against fidelity over scales of guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results import AlignmentPoint
from morphogen.applications import prompt_alignment
from morphogen.core.chunks import limited
from morphogen.data.in_memory import AnyData


@limited
def alignment_curve(
    model: AnyModel,
    data: AnyData,
    scales: Sequence[float],
    *,
    only: Sequence[str] | None = None,
    n: int = 1000,
    seed: int = 0,
    negative: str | None = None,
    stepper: str | None = None,
    steps: int | None = None,
    grid: str | None = None,
    options: Mapping[str, Any] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> tuple[AlignmentPoint, ...]:
    """Measure alignment against fidelity at scales of guidance, in one order of prompts and noise.

    Fidelity and copying, `fd` and `copied` of `evaluate`, are those of `n` drawings of training captions: there copies
    are made, if anywhere.

    Args:
        model, data, only, n, seed, negative, stepper, steps, grid, options, device, precision: as of
            `evaluate_alignment`.
        batch_size: how many records are computed together, at most; None: as many as are fast.
        scales: of guidance.

    Returns:
        A point for each scale.

    Raises:
        DataError: fewer pictures than a Frechet distance needs.

    Example:
        >>> points = mg.alignment_curve("runs/words", "shapes", [1, 4], n=300)
        >>> [point.guidance for point in points]
        [1, 4]
    """
    given = {"negative": negative, "stepper": stepper, "steps": steps, "grid": grid, **(options or {})}
    family = open_model(model, device).module
    points = prompt_alignment.align_over_guidance(family, data, scales, only, n, seed, precision, given)
    return tuple(AlignmentPoint(p.guidance, tuple(p.alignment), tuple(p.fidelity)) for p in points)
