"""`Result`: a number with its interval, protocol and baselines."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from morphogen.core.spec import Spec


class Result(Spec):
    """One measured number.

    Attributes:
        value: in `unit`; interval is its 95 % interval (low, high), or None where there is none
        n, seed: number of records, and the seed of the noise
        better: the better direction
        protocol: the measurement in one sentence
        baselines: the values of trivial models, by name
        floor: the value of real records against other real records; `floor_interval` is its interval
        place: the place of the value on the ladder of known corruptions
        network: the feature network of the measurement, by the hash of its file
        warnings: reasons to doubt the number
        details: further numbers (parts of the value, its bias, ...)

    Example:
        >>> result = mg.evaluate("runs/first", "digits", ["nll"])["nll"]
        >>> result.value, result.interval, result.unit, result.baselines
    """

    most_values = 1 << 16
    name: str
    value: float
    interval: tuple[float, float] | None
    unit: str
    n: int
    seed: int
    better: str = Field("lower", pattern="^(lower|higher)$")
    protocol: str
    baselines: dict[str, float] = Field(default_factory=dict)
    floor: float | None = None
    floor_interval: tuple[float, float] | None = None
    place: str = ""
    network: str = ""
    warnings: tuple[str, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)
    data: str = ""
    fingerprint: str = ""
    duration_s: float = 0.0


def mean_interval(mean: float, deviation: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a mean of n independent values: mean -+ 1.96 s / sqrt(n)."""
    half = 1.959964 * deviation / n**0.5
    return mean - half, mean + half
