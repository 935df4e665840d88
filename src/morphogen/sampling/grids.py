"""Time grids: (steps + 1,) float64, strictly decreasing from `start` to exactly 0.

    uniform    t = start (1 - i / steps)
    quadratic  t = start (1 - i / steps)^2
    log-snr    uniform in log-SNR down to sigma / alpha = `smallest`, then 0                     (Lu et al., 2022)
    karras     (sigma / alpha)^(1 / rho) uniform down to `smallest`, then 0; rho = 7           (Karras et al., 2022)
    angle      arctan(sigma / alpha) proportional to (1 - i / steps)^2

The default of `smallest` is 0.2 / steps, but at least 0.002 and at most half of the first sigma / alpha. The last step
removes the remaining noise at once, and few steps are of more use at higher noise. If a schedule ends with more noise
than sigma / alpha = `largest`, the log-snr and karras grids are cut there; the first time is still `start`. The angle
is bounded and needs no cut. Its grid has the same noise levels for every schedule and becomes fine everywhere as steps
grow.

The best of them depends on the stepper. "auto" is the one that the stepper names (`Stepper.suited_grid`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from morphogen.core.errors import SpecError, UsageError, unknown
from morphogen.theory.schedules import Schedule

AUTO = "auto"
SMALLEST, LARGEST = 0.002, 80.0


def power(schedule: Schedule, steps: int, start: float = 1.0, exponent: float = 1.0) -> Tensor:
    """t = start (1 - i / steps)^exponent."""
    _check(steps, start)
    return start * (torch.arange(steps, -1, -1).double() / steps) ** exponent


def log_snr(
    schedule: Schedule, steps: int, start: float = 1.0, smallest: float | None = None, largest: float = LARGEST
) -> Tensor:
    """Uniform in log-SNR down to sigma / alpha = `smallest`, then 0."""
    return _warped(schedule, steps, start, smallest, largest, torch.log, torch.exp)


def karras(
    schedule: Schedule,
    steps: int,
    start: float = 1.0,
    rho: float = 7.0,
    smallest: float | None = None,
    largest: float = LARGEST,
) -> Tensor:
    """Uniform in (sigma / alpha)^(1 / rho) down to `smallest`, then 0."""
    return _warped(schedule, steps, start, smallest, largest, lambda v: v ** (1.0 / rho), lambda v: v**rho)


def angle(schedule: Schedule, steps: int, start: float = 1.0, exponent: float = 2.0) -> Tensor:
    """arctan(sigma / alpha) proportional to (1 - i / steps)^exponent."""
    first = torch.tensor(start, dtype=torch.float64)
    angles = torch.atan(torch.exp(-0.5 * schedule.log_snr(first))) * power(schedule, steps, 1.0, exponent)
    inside = schedule.time(-2.0 * torch.tan(angles[1:-1]).log())
    return torch.cat((first[None], inside, torch.zeros(1, dtype=torch.float64)))


GRIDS: Mapping[str, Callable[..., Tensor]] = {
    "uniform": power,
    "quadratic": partial(power, exponent=2.0),
    "log-snr": log_snr,
    "karras": karras,
    "angle": angle,
}


def grid(name: str, schedule: Schedule, steps: int, start: float = 1.0) -> Tensor:
    """Compute the grid called `name`.

    Args:
        name: one of `GRIDS`.
        schedule: the schedule of the denoiser.
        steps: number of steps, at least 1.
        start: the first time, in (0, 1].

    Returns:
        The times (steps + 1,) float64 on the CPU, from `start` to exactly 0.

    Raises:
        SpecError: there is no grid of that name.
        UsageError: `steps` or `start` is out of range.
    """
    if name not in GRIDS:
        raise SpecError(unknown("grid", name, (AUTO, *GRIDS)))
    return GRIDS[name](schedule, steps, start)


def _warped(
    schedule: Schedule,
    steps: int,
    start: float,
    smallest: float | None,
    largest: float,
    warp: Callable[[Tensor], Tensor],
    unwarp: Callable[[Tensor], Tensor],
) -> Tensor:
    _check(steps, start)
    first = torch.tensor(start, dtype=torch.float64)
    noisiest = min(float(torch.exp(-0.5 * schedule.log_snr(first))), largest)
    if smallest is None:
        smallest = min(max(SMALLEST, 0.2 / steps), 0.5 * noisiest)
    if not 0.0 < smallest < noisiest:
        raise UsageError(
            f"the grid starts at sigma / alpha = {noisiest:.3g}, which must exceed {smallest}: start later."
        )
    ends = warp(torch.tensor([noisiest, smallest], dtype=torch.float64))
    ratios = unwarp(torch.linspace(float(ends[0]), float(ends[1]), steps, dtype=torch.float64))
    inside = schedule.time(-2.0 * ratios[1:].log())
    return torch.cat((first[None], inside, torch.zeros(1, dtype=torch.float64)))


def _check(steps: int, start: float) -> None:
    if steps < 1 or not 0.0 < start <= 1.0 or math.isnan(start):
        raise UsageError(f"a grid needs at least 1 step and a start in (0, 1], got {steps} and {start}.")
