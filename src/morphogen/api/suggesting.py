"""Which family to take for which purpose, what to expect of it, and the command."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from morphogen import data as sources
from morphogen.api.preparing import prepare
from morphogen.api.resuming import Asked
from morphogen.core import registry
from morphogen.core.errors import MorphogenError
from morphogen.core.recommendation import Situation, recommended_side
from morphogen.data.in_memory import AnyData, is_source
from morphogen.data.resolution import sized
from morphogen.trainer import Recipe
from morphogen.trainer.plan import Plan


@final
@dataclass(frozen=True)
class Suggestion:
    """A family for a purpose.

    Attributes:
        family: its name
        purpose: what it is taken for
        expected: what it makes of these data in this time
        plan: its training; `plan.hopeless` where the time is too short
        command: what to type
    """

    family: str
    purpose: str
    expected: str
    plan: Plan
    command: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        about = {"family": self.family, "purpose": self.purpose, "expected": self.expected}
        return {**about, "plan": self.plan.to_dict(), "command": self.command}


def suggest(data: AnyData, budget: str = "10min", *, families: Sequence[str] = ()) -> list[Suggestion]:
    """Suggest families for data and time. Each tries some steps, which takes some seconds; nothing is written.

    Args:
        data: as of `train`.
        budget: how long a training may take.
        families: which families to consider; empty: all that have a rule for these data.

    Returns:
        A suggestion for each family, in alphabetical order.

    Raises:
        UsageError: a malformed source or budget, or an unknown family.
        DataError: data that cannot be read.

    Example:
        >>> [one.family for one in mg.suggest("digits", "1min", families=["vae"])]
        ['vae']
    """
    side = recommended_side(Recipe.parse({"budget": budget}).budget)
    found_size = sized(str(data), side) if is_source(data) else None
    data = data if found_size is None else found_size[0]
    loaded = sources.load(data)
    told = shlex.quote(str(data)) if is_source(data) else "SOURCE"
    found = []
    for name in families or registry.names():
        kind = registry.family(name)
        advice = kind.recommend(Situation(loaded.spec, len(loaded.train)))
        if not advice.purpose and not families:
            continue
        try:
            plan = _plan(name, loaded, budget)
        except MorphogenError:  # it needs parts, or other data
            if families:
                raise
            continue
        command = f"morphogen train {name} --data {told} --out runs/{name} --budget {budget}"
        found.append(Suggestion(name, advice.purpose, advice.expected(plan.steps), plan, command))
    return found


def _plan(family: str, loaded: sources.Dataset, budget: str) -> Plan:
    began = time.perf_counter()
    return prepare(Asked.of(family, loaded, None, None, None, None, {"budget": budget}, {}), began).planned(began)
