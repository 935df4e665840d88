"""New records from a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from morphogen.api.records import Pictures, as_stored, device_of, load_model
from morphogen.core import capabilities, registry
from morphogen.core.batch import RawCondition
from morphogen.core.classes import find_class, taken_by_position
from morphogen.core.data_spec import PAD, DataSpec
from morphogen.core.errors import UsageError, unknown
from morphogen.core.family import Family, require
from morphogen.core.limits import REAL, WHOLE, check_numbers
from morphogen.core.rng import Rng
from morphogen.data import weighted_prompts
from morphogen.data.tokenizer import Read, Tokenizer
from morphogen.sampling.noise import Walk
from morphogen.training import compile as compilation
from morphogen.training.precision import autocast, resolve

CHUNK = 64  # samples drawn together; with `exact`, always this many, so that the arithmetic is the same
PRECISIONS = ("fp32", "bf16", "auto")
GUIDANCE = 4.0  # towards a prompt, where a model knows both it and none, and does not say itself


def sample(
    model: Path | str,
    n: int = 64,
    seed: int = 0,
    *,
    label: str | int | None = None,
    text: str | None = None,
    exact: bool = False,
    batch_size: int | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    compile: bool = False,
    **how: Any,
) -> Pictures:
    """Draw `n` new records. Sample i depends on (seed, i, label, text) only.

    `label` is a class, by name or position, and `text` a prompt for all of them; either may be left out. In a prompt,
    `(words:1.3)` count 1.3 times (`data/weighted_prompts.py`). The result's `warnings` say which words of the prompt
    the model hardly knows.
    In another `batch_size` it agrees to within 1/255; with `exact` it is the same bit for bit whatever n is.
    `precision` bf16 is about twice as fast where the hardware multiplies in it (auto finds out), with its rounding.
    `compile` first compiles the network of a diffusion or flow model, which takes about half a minute, so that it pays
    where thousands are drawn; compiled arithmetic rounds differently, and does not go with `exact`.
    `how` are further options of the family's own `sample`, such as temperature; None leaves one as it is. Guidance
    leads away from the class `avoid`, or from the prompt `negative`.
    """
    check_numbers(n=n, seed=seed, batch_size=batch_size)
    if compile and exact:
        raise UsageError(
            "compiled arithmetic rounds in its own way, so it is never exact: give exact or compile, not both."
        )
    size = CHUNK if exact else (batch_size or CHUNK)
    if compile:  # for one size of batches
        size = math.ceil(n / math.ceil(n / size))
    asked: dict[str, Any] = {"label": label, "text": text, "device": device, "precision": precision}
    return _drawn(
        model, n, lambda on: Rng(seed, on), how, size=size, padded=exact or compile, compiled=compile, **asked
    )


def walk(
    model: Path | str,
    frames: int = 96,
    stops: int = 6,
    seed: int = 0,
    *,
    label: str | int | None = None,
    text: str | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    **how: Any,
) -> Pictures:
    """A closed walk: `frames` pictures that turn into each other, through the first `stops` samples of this seed.

    Noise moves on great circles from each stop to the next and from the last to the first (`applications/walks.py`),
    so that every frame is a sample of the model, and frame 0 follows the last one as each its neighbor. Stop k is frame
    k frames / stops, where that is whole. For any model that makes its samples from normal noise: GANs, VAEs,
    diffusion models ...
    `label`, `text`, `precision` and `how`, such as truncation, are as of `sample`. Raises `CapabilityError` for a model
    that also chooses among things with nothing in between.
    """
    check_numbers(frames=frames, stops=stops, seed=seed)
    asked: dict[str, Any] = {"label": label, "text": text, "device": device, "precision": precision}
    return _drawn(model, frames, lambda on: Walk(Rng(seed, on), frames, stops), how, **asked)


def _drawn(
    model: Path | str,
    n: int,
    noise: Callable[[torch.device], Rng],
    how: Mapping[str, Any],
    *,
    label: str | int | None,
    text: str | None,
    device: str,
    precision: str,
    size: int = CHUNK,
    padded: bool = False,
    compiled: bool = False,
) -> Pictures:
    """`n` samples from the noise that there is on a device, `size` at a time, the last ones too if `padded`."""
    family = drawer(model, device)
    classes = of_classes(family.data, label, how.get("avoid"))
    how = drawn_how(family, how)
    networks = compilation.wrap_for_drawing(family) if compiled else []
    row = class_row(family.data, label, family)
    words = None if text is None else weighted(family, text)
    on = device_of(family)
    x = made(
        family,
        n,
        lambda rows: condition(len(rows), row, words, on),
        noise(on),
        how,
        precision=precision,
        size=size,
        padded=padded,
    )
    labels = None if row is None else np.full(n, row)
    warnings = [network.warning for network in networks if network.warning is not None]
    return Pictures(x, family.data, labels=labels, warnings=(*classes, *(words.warnings if words else ()), *warnings))


def drawer(model: Path | str, device: str) -> Family:
    """A model that draws from noise. Raises `CapabilityError`, or `UsageError` for one that starts from pictures."""
    family = load_model(model, device).family
    require(family, capabilities.Samples, "sample", registry.having(capabilities.Samples))
    if family.data.context_shape is not None and not getattr(family.spec, "context_dropout", 0.0):
        raise UsageError(
            f"this model makes pictures from pictures (context={family.data.preprocessing.get('context')}): give it one"
            " with `morphogen upscale` or `morphogen restore`. Trained with --context-dropout, it would draw without."
        )
    return family


def made(
    family: Family,
    n: int,
    given: Callable[[Tensor], RawCondition | None],
    rng: Rng,
    how: Mapping[str, Any],
    *,
    precision: str = "fp32",
    size: int = CHUNK,
    padded: bool = False,
) -> np.ndarray:
    """(n, *shape) as stored: sample i under row i of what is `given` for rows (B,), `size` at a time.

    If `padded`, the last ones too, and more than n rows are asked for.
    """
    if precision not in PRECISIONS:
        raise UsageError(unknown("precision", precision, PRECISIONS))
    on = device_of(family)
    parts = []
    for start in range(0, n, size):
        rows = torch.arange(start, start + size if padded else min(start + size, n), device=on)
        with autocast(resolve(cast(Any, precision), on), on):
            parts.append(cast(Any, family).sample(len(rows), given(rows), rng.shifted(start), **how))
    return as_stored(torch.cat(parts)[:n], family.data)


def prompt(family: Family, *texts: str) -> Read:
    """Texts as the model reads them, word by word. Raises `UsageError` for a model that reads none."""
    tokenizer, longest = _reader(family)
    return tokenizer.read(texts, longest)


def weighted(family: Family, *texts: str) -> Read:
    """Prompts, whose words may have weights, `(words:1.3)`. Raises `UsageError` as `prompt`, and for a wrong weight."""
    tokenizer, longest = _reader(family)
    return weighted_prompts.read(tokenizer, texts, longest)


def tokens_of_words(family: Family, text: str) -> list[tuple[str, list[int]]]:
    """The words of a prompt that the model reads, and the places of their tokens in `weighted`. Raises `UsageError`."""
    tokenizer, longest = _reader(family)
    return weighted_prompts.words(tokenizer, text, longest)


def _reader(family: Family) -> tuple[Tokenizer, int]:
    schema = family.data.text
    if not family.conditional or schema is None or not schema.tokenizer:
        raise UsageError("this model reads no text: train one on captioned data with --conditional.")
    return Tokenizer.of(schema), schema.longest


def condition(n: int, row: int | None, words: Read | None, device: torch.device) -> RawCondition | None:
    """The same for each of `n` records."""
    if row is None and words is None:
        return None
    ids = mask = None
    if words is not None:
        shown = words.ids != PAD
        mask = (shown if words.weights is None else shown * words.weights).to(device).expand(n, -1)
        ids = words.ids.to(device).expand(n, -1)
    return RawCondition(label=None if row is None else torch.full((n,), row, device=device), text=ids, text_mask=mask)


def class_row(spec: DataSpec, label: str | int | None, family: Family) -> int | None:
    """A class by its name or position (`core/classes.py`). Raises `UsageError` for one that the model does not know."""
    if label is None:
        return None
    if not family.conditional or not spec.classes:
        raise UsageError("this model knows no classes: train one on labelled data with --conditional.")
    return find_class(label, spec.classes)


def of_classes(spec: DataSpec, *labels: str | int | None) -> tuple[str, ...]:
    """What is to be said about classes that were given: those that were taken by their position."""
    return tuple(sentence for label in labels for sentence in taken_by_position(label, spec.classes))


def drawn_how(family: Family, how: Mapping[str, Any]) -> dict[str, Any]:
    """The given options of `sample`, and a prompt `negative`, which is what to avoid in words, for those that avoid.

    Raises `UsageError` for one that this family's `sample` does not take.
    """
    given = {name: value for name, value in how.items() if value is not None}
    check_numbers(**{name: value for name, value in given.items() if name in WHOLE or name in REAL})
    known = options_of_sample(type(family))
    for name in given:
        if name not in known:
            others = [f for f in registry.names() if name in options_of_sample(registry.family(f))]
            raise UsageError(
                f"a {family.name!r} model is not sampled with {name!r}; its options: {', '.join(known) or 'none'};"
                f" families that have {name!r}: {', '.join(others) or 'none'}."
            )
    if "avoid" in given:
        given["avoid"] = class_row(family.data, given["avoid"], family)
    if "negative" in given:
        if "avoid" in given:
            raise UsageError("guidance leads away from one thing: give a class to avoid, or a negative prompt.")
        if given.get("guidance") == 1.0:
            raise UsageError(
                "guidance leads away from a negative prompt, and scale 1 is none: give another, such as 4, or leave the"
                " negative prompt out."
            )
        given["avoid"] = condition(1, None, weighted(family, given.pop("negative")), device_of(family))
    return given


def guided(family: Family, how: Mapping[str, Any]) -> dict[str, Any]:
    """`how`, with a default of guidance where there is something to lead away from and nobody has said how far."""
    s: Any = family.spec
    if how.get("guidance") is not None or "guidance" not in options_of_sample(type(family)) or s.guidance != 1.0:
        return dict(how)
    led = {**how, "guidance": GUIDANCE}
    return dict(how) if without_null(family, led) else led


def without_null(family: Family, how: Mapping[str, Any]) -> bool:
    """Whether guidance leads away from no condition at all, of which the model was never told."""
    learned = getattr(family.spec, "condition_dropout", 0.0) > 0
    away = how.get("negative") is not None or how.get("avoid") is not None
    return how.get("guidance", 1.0) != 1.0 and not (learned or away)


def options_of_sample(family: type[Family]) -> list[str]:
    """The keyword-only parameters of a family's `sample`, and "negative" where it avoids."""
    method = getattr(family, "sample", None)
    parameters = [] if method is None else list(signature(method).parameters.values())
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return [*names, "negative"] if "avoid" in names else names


def grid_of_classes(spec: DataSpec, n: int) -> RawCondition | None:
    return RawCondition(label=torch.arange(n) % len(spec.classes)) if spec.classes else None
