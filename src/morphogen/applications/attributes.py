"""Wanted attributes, such as qed=0.9 or logp=2..3, as the conditions that models read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from morphogen.core.batch import RawCondition
from morphogen.core.data_spec import Attribute
from morphogen.core.errors import UsageError, unknown
from morphogen.core.family import Family
from morphogen.core.rng import Noise

Wanted = float | int | str | tuple[float, float]


@dataclass(frozen=True)
class WantedAttributes:
    """The range (low, high) that each wanted attribute is drawn from; low = high for one value. None: not asked for."""

    ranges: tuple[tuple[float, float] | None, ...]
    names: tuple[str, ...]

    def condition(self, cond: RawCondition | None, rows: Tensor, noise: Noise) -> RawCondition:
        """`cond` with the attributes of the samples `rows` (B,): in a range each has a uniform value of its own."""
        values = torch.zeros(len(rows), len(self.ranges), device=rows.device)
        present = torch.zeros_like(values, dtype=torch.bool)
        for i, (asked, name) in enumerate(zip(self.ranges, self.names, strict=True)):
            if asked is not None:
                low, high = asked
                u = noise.uniform(f"attribute {name}", rows) if high > low else 0.0
                values[:, i], present[:, i] = low + (high - low) * u, True
        return dataclasses.replace(cond or RawCondition(), attributes=values, present=present)


def read_attributes(family: Family, wanted: str | Mapping[str, Wanted] | None) -> WantedAttributes | None:
    """Wanted values by name, or as text: `qed=0.9,logp=2..3`. None for nothing.

    Raises `UsageError` for a model that reads no attributes, an unknown name, and a value outside of what it has seen.
    """
    if not wanted:
        return None
    given = _parsed(wanted) if isinstance(wanted, str) else dict(wanted)
    known = {a.name: i for i, a in enumerate(family.data.attributes)}
    if not family.conditional or not known:
        raise UsageError(
            "this model knows no attributes: train one with --conditional on data that have some, such as"
            " chembl:attributes=qed,logp."
        )
    ranges: list[tuple[float, float] | None] = [None] * len(known)
    for name, value in given.items():
        if name not in known:
            raise UsageError(unknown("attribute", name, known))
        ranges[known[name]] = _range(family.data.attributes[known[name]], value)
    return WantedAttributes(tuple(ranges), tuple(known))


def _parsed(text: str) -> dict[str, Wanted]:
    found: dict[str, Wanted] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not name or not equals or not value:
            raise UsageError(f"attributes are wanted as NAME=VALUE or NAME=LOW..HIGH,... (got {part!r}).")
        if name in found:
            raise UsageError(f"the attribute {name!r} is wanted twice.")
        found[name] = value
    return found


def _range(attribute: Attribute, value: Wanted) -> tuple[float, float]:
    name = attribute.name
    if attribute.values:
        if value not in attribute.values:
            raise UsageError(unknown(f"value of {name}", str(value), attribute.values))
        place = float(attribute.values.index(str(value)))
        return place, place
    ends = value if isinstance(value, tuple) else str(value).split("..")
    try:
        numbers = [float(end) for end in ends]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(map(_finite, numbers)):
        raise UsageError(f"{name} is wanted as one number, or as LOW..HIGH (got {value!r}).")
    low, high = numbers[0], numbers[-1]
    if low > high:
        raise UsageError(f"{name}: the range {low:g}..{high:g} is not in order.")
    if attribute.low is not None and attribute.high is not None and not attribute.low <= low <= high <= attribute.high:
        raise UsageError(
            f"{name}: the model has seen {attribute.low:.4g} to {attribute.high:.4g}, and not {low:g} to {high:g}: it"
            " cannot know what to draw there."
        )
    return low, high


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
