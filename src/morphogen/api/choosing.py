"""What a training takes from data and time: what its family recommends, where its user has said nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from morphogen import data
from morphogen.core.errors import SpecError
from morphogen.core.family import Family
from morphogen.core.recommendation import Choice, Situation, private_training
from morphogen.core.spec import Spec
from morphogen.data.symmetry import is_symmetric
from morphogen.trainer import Recipe
from morphogen.trainer.distributed import leads_alone

_NETWORKS = ("backbone", "widths", "blocks", "hidden", "fold", "width", "depth")  # given ones stay as they are
_MANY_STEPS = 10_000  # a run whose length is in steps takes the larger networks from here on
_USABLE = 0.8  # of a budget, after sheets, checkpoints and what comes before the first step

Try = Callable[[Spec, Recipe], float]  # the seconds of a step


@dataclass(frozen=True)
class Chosen:
    """The options to train with, those that were chosen, and the steps that the family needs."""

    spec: Spec
    recipe: Recipe
    choices: Sequence[Choice] = ()
    needs: int = 0


def choose(
    kind: type[Family],
    options: Mapping[str, Any],
    recipe: Mapping[str, Any],
    taken_whole: bool,
    complete: bool,
    dataset: data.Dataset,
    began: float,
    seconds_of: Try,
) -> Chosen:
    """Complete the options of a user by those that the family recommends. Raises `SpecError` for impossible ones.

    `taken_whole`: the options of the model stay as they are, as those of a preset or of latents; `complete`: those of
    the training as well, as of a run that goes on. `seconds_of` measures a step of a network.
    """
    spec, plan = kind.Spec.parse(options), Recipe.parse(recipe)
    if complete or not plan.auto:
        return Chosen(spec, plan)
    seconds = None if plan.budget is None else plan.budget - (time.perf_counter() - began)
    described = dataset.spec
    mirrored = plan.privacy is None and described.text is None and is_symmetric(dataset.train)
    plain = plan.privacy is None and plan.distributed != "fsdp"
    found = kind.recommend(Situation(described, len(dataset.train), seconds, mirrored, plain))
    advised = found.training if plan.privacy is None else private_training(len(dataset.train))
    training = _free(advised, recipe) if leads_alone() else []  # processes share a batch as it is given
    plan = Recipe.parse({**{c.name: c.value for c in training}, **recipe})
    if taken_whole:
        return Chosen(spec, plan, training, found.needs)
    choices = _free(found.choices, options)
    wanted = {**{c.name: c.value for c in choices}, **options}
    sizes = [] if set(_NETWORKS) & set(options) else list(found.sizes)
    try:
        spec = kind.Spec.parse(wanted)
        if sizes:
            sizes = [{name: value for name, value in size.items() if name not in options} for size in sizes]
            size, why = _largest(kind, wanted, sizes, plan, seconds, found.needs, seconds_of)
            spec = kind.Spec.parse({**wanted, **size})
            choices = [c for c in choices if c.name not in size]
            choices += [Choice(name, value, why) for name, value in size.items()]
    except SpecError:  # what is recommended does not go together with what is given, which is possible alone
        return Chosen(spec, plan, training, found.needs)
    return Chosen(spec, plan, [*training, *choices], found.needs)


def _free(choices: Sequence[Choice], given: Mapping[str, Any]) -> list[Choice]:
    return [c for c in choices if c.name not in given and not set(c.unless) & set(given)]


def _largest(
    kind: type[Family],
    options: Mapping[str, Any],
    sizes: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    seconds: float | None,
    needs: int,
    seconds_of: Try,
) -> tuple[Mapping[str, Any], str]:
    """The largest network that makes the steps it needs in the time, and why."""
    if seconds is None or not leads_alone():
        few = (recipe.steps or 0) < _MANY_STEPS
        return (sizes[0] if few else sizes[-1]), f"for {'fewer' if few else 'more'} than {_MANY_STEPS:,} steps"
    chosen, fits = sizes[0], 0.0
    for size in sizes:
        pace = seconds_of(kind.Spec.parse({**options, **size}), recipe)
        if size is not sizes[0] and _USABLE * seconds / pace < needs:
            break
        chosen, fits = size, _USABLE * seconds / pace
        if fits < 2.0 * needs:  # a larger one takes at least twice as long
            break
    return chosen, f"one of {len(sizes)} networks: about {fits:,.0f} steps in the time"
