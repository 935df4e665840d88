"""What a training is made of before its first step: data, options, parts, and the model with its first weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from morphogen import artifact, data
from morphogen.api.choosing import choose
from morphogen.api.model_size import check_size
from morphogen.api.parts import part
from morphogen.api.private_training import check_private, one_pass, random_batches, with_fingerprint
from morphogen.api.resuming import Asked
from morphogen.artifact.store import own_state
from morphogen.core import registry
from morphogen.core.batch import BatchSource
from morphogen.core.capabilities import Releases
from morphogen.core.data_spec import DataSpec
from morphogen.core.errors import SpecError
from morphogen.core.family import Family, resolve_preset
from morphogen.core.printable import listed, one_line
from morphogen.core.privacy import parse_privacy
from morphogen.core.recommendation import Choice, recommended_side
from morphogen.core.rng import Rng
from morphogen.core.shipped import located
from morphogen.core.spec import Spec
from morphogen.data.in_memory import is_source
from morphogen.data.public_description import public_dataset
from morphogen.data.resolution import sized
from morphogen.nn.conditioning.conditioner import READER
from morphogen.trainer import Recipe
from morphogen.trainer.distributed import resolve_device
from morphogen.trainer.plan import Advice, Plan, measured, plan

LENGTHS = {"steps", "epochs", "budget"}  # of training; ten minutes where none is given
MOMENTS = "class_gaussian"  # the family of a private warm-up
TRIAL_S = 1.5  # seconds to try a network


@dataclass(frozen=True)
class Prepared:
    """A training before its first step: everything that it is made of."""

    asked: Asked
    model: Family
    stream: BatchSource
    recipe: Recipe
    dataset: data.Dataset
    advice: Advice
    pace: float | None = None
    moments: Family | None = None  # whose samples a private training learns first

    def planned(self, began: float) -> Plan:
        """The plan, from some trial steps, unless these were made to choose a network. Nothing is written."""
        trainer = measured(self.model, self.stream, self.recipe, began, TRIAL_S, self.pace, self.moments)
        return plan(trainer, len(self.dataset.train), self.advice)


def prepare(asked: Asked, began: float, tell: Callable[[str], object] | None = None) -> Prepared:
    """Read the data, choose what is not given, and make the model with its first weights."""
    assert asked.family is not None and asked.data is not None  # the caller has seen to it
    found = registry.family(asked.family)
    options = {**resolve_preset(found, asked.preset), **asked.options}
    if asked.start is not None and asked.preset is None:
        options = {**_inherited(asked.start, found), **options}
    spec = found.Spec.parse(options)
    recipe = {**({} if LENGTHS & set(asked.recipe) else {"budget": "10min"}), **asked.recipe}
    Recipe.parse(recipe)
    stages = {name: part(name, path) for name, path in asked.parts.items()}
    described, reader = stages.get(found.data_part or ""), stages.get(READER)
    if reader is not None and not spec.to_dict().get("conditional"):
        raise SpecError(f"the part {READER!r} reads captions, and this model has no condition: add --conditional.")
    like = None if described is None else described.data
    resized: list[Choice] = []
    if like is None and not asked.complete and recipe.get("auto", True) is not False:
        asked, resized = _sized(asked, Recipe.parse(recipe).budget)
    dataset = data.load(asked.data, like=like, tokenizer=None if reader is None or like else reader.data.text)
    terms = parse_privacy(Recipe.parse(recipe).privacy)
    if terms is not None:
        check_private(asked, terms)
        asked = with_fingerprint(asked, dataset.spec.fingerprint)
        dataset = public_dataset(dataset, "ranges" in terms.public)
    if Releases in found.capabilities and not found.blind_players:
        recipe = one_pass(recipe, len(dataset.train))

    moments = None
    if terms is not None and terms.moments:
        release = registry.family(MOMENTS)
        moments = build(release, release.Spec.parse({}), dataset.spec, {}, Recipe.parse(recipe).seed)

    def make(chosen: Spec, plan: Recipe) -> tuple[Family, BatchSource]:
        check_size(found, chosen, dataset.spec, stages)
        model = build(found, chosen, dataset.spec, stages, plan.seed)
        device = resolve_device(plan.device)
        if terms is not None or Releases in found.capabilities:
            return model, random_batches(dataset.train, plan, device, Releases in found.capabilities)
        return model, data.Stream(dataset.train, plan.batch_size, plan.seed, plan.flips, device)

    tried: list[tuple[Spec, Recipe, float]] = []

    def seconds_of(chosen: Spec, plan: Recipe) -> float:
        tried.append(
            (chosen, plan, measured(*make(chosen, plan), plan, began, TRIAL_S, moments=moments).budget.pace or TRIAL_S)
        )
        return tried[-1][2]

    whole = asked.preset is not None or bool(asked.parts) or asked.start is not None or asked.complete
    chosen = choose(found, options, recipe, whole, asked.complete, dataset, began, seconds_of)
    model, stream = make(chosen.spec, chosen.recipe)
    if asked.start is not None:
        _begin_with(model, asked.start)
    advice = Advice(chosen.needs, (*resized, *chosen.choices), tell)
    known = next((pace for spec, plan, pace in tried if (spec, plan) == (chosen.spec, chosen.recipe)), None)
    return Prepared(asked, model, stream, chosen.recipe, dataset, advice, known, moments)


def _sized(asked: Asked, seconds: float | None) -> tuple[Asked, list[Choice]]:
    """A folder of large pictures at the size of the model it starts from, or at one that can be learned in the time.

    A source that names a size keeps it.
    """
    start = None if asked.start is None else artifact.describe(located(asked.start)).data
    begins = start is not None and start.is_picture
    side = min(start.shape[1:]) if start is not None and begins else recommended_side(seconds)
    found = sized(str(asked.data), side) if is_source(asked.data) else None
    if found is None:
        return asked, []
    source, theirs = found
    if begins:
        return replace(asked, data=source), [Choice("size", side, "that of the model it starts from")]
    why = f"the pictures have about {theirs} px; --data {asked.data}:size={2 * side},resize=crop takes more time"
    return replace(asked, data=source), [Choice("size", side, why)]


def build(kind: type[Family], spec: Spec, described: DataSpec, parts: Mapping[str, nn.Module], seed: int) -> Family:
    """The family, with the weights that it begins with. Raises `SpecError` where no network has these sizes."""
    try:
        with Rng(seed).forked():
            return kind(spec, described, parts)
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")[:300]
        raise SpecError(f"no {kind.name!r} model of these options can be made for these data ({reason}).") from error


def _inherited(start: Path | str, kind: type[Family]) -> dict[str, Any]:
    """The options of the model whose weights to begin with, if it is of this family."""
    stored = artifact.describe(located(start))
    return stored.options.to_dict() if stored.kind is kind else {}


def _begin_with(model: Family, start: Path | str) -> None:
    """Copy the weights of a trained model. Raises `SpecError` where the networks differ, or the words they read."""
    begun = artifact.load(located(start)).family
    read = [family.data.text.fingerprint for family in (begun, model) if family.conditional and family.data.text]
    if len(set(read)) > 1:
        raise SpecError(f"cannot start from {start}: it has learned other words than these captions have.")
    weights = own_state(begun)
    shapes = {name: tuple(value.shape) for name, value in weights.items()}
    wanted = {name: tuple(value.shape) for name, value in own_state(model).items()}
    different = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if different and model.data_part is not None:
        raise SpecError(
            f"cannot start from {start}: a {model.name!r} model begins as its {model.data_part}; give that model as"
            f" --part {model.data_part}=MODEL instead."
        )
    if different:
        raise SpecError(f"cannot start from {start}: {_difference(begun, model, different)}")
    model.load_state_dict(weights, strict=False)  # its parts stay


def _difference(begun: Family, model: Family, weights: list[str]) -> str:
    """Why the networks of two models of a family differ, and what to do."""
    if begun.data.shape != model.data.shape:
        return (
            f"its records have shape {begun.data.shape}, and these have {model.data.shape}: prepare them alike, such as"
            " by size= in the source."
        )
    ours, theirs = model.spec.to_dict(), begun.spec.to_dict()
    options = [f"{name} {theirs[name]}, not {ours[name]}" for name in ours if ours[name] != theirs.get(name)]
    if model.name == begun.name and options:
        return f"it was trained with {listed(options, 5)}; give the same options, or none, which takes its own."
    return (
        f"{len(weights)} weights differ in name or shape, such as {weights[0]!r}; give the same network options that it"
        " was trained with."
    )
