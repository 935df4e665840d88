"""Sample records from a model: the options of its family, and chunks of one size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from morphogen.applications.attributes import Wanted, read_attributes
from morphogen.applications.prompting import class_index, class_notes, constant_condition, read_weighted_prompt
from morphogen.applications.records import check_room
from morphogen.core import registry
from morphogen.core.batch import RawCondition
from morphogen.core.capabilities import Denoises, Samples
from morphogen.core.chunks import chunks
from morphogen.core.errors import UsageError, unknown
from morphogen.core.family import Family, require
from morphogen.core.limits import REAL, WHOLE, check_numbers
from morphogen.core.rng import Noise
from morphogen.trainer import compile as compilation
from morphogen.trainer.precision import autocast, resolve

CHUNK = 64  # samples per chunk; exact sampling always takes so many, for the same arithmetic
GUIDANCE = 4.0  # default scale towards a prompt, for models that also know no prompt
PRECISIONS = ("fp32", "bf16", "auto")


def require_sampler(family: Family) -> Samples:
    """Return the family if it samples from noise.

    Raises `CapabilityError` if it does not sample, and `UsageError` if it needs context pictures.
    """
    sampler = require(family, Samples, "sample")
    if family.needs_context:
        raise UsageError(
            f"this model makes pictures from pictures (context={family.data.preprocessing.get('context')}): give it one"
            " with `morphogen upscale` or `morphogen restore`. Trained with --context-dropout, it would draw without."
        )
    return sampler


def sample_in_chunks(
    family: Family,
    n: int,
    given: Callable[[Tensor], RawCondition | None],
    rng: Noise,
    options: Mapping[str, Any],
    *,
    precision: str = "fp32",
    size: int = CHUNK,
    padded: bool = False,
) -> Tensor:
    """Sample x (n, *shape) in chunks of `size`; `given` maps rows (B,) to their conditions.

    With `padded` the last chunk is full too, so `given` gets more than n rows. Raises `UsageError` for an unknown
    precision.
    """
    if precision not in PRECISIONS:
        raise UsageError(unknown("precision", precision, PRECISIONS))
    check_room(n, family.data.shape)
    sampler, on = require(family, Samples, "sample"), family.device
    parts = []
    for part in chunks(n, size, exactly=padded):
        rows = torch.arange(part.start, part.start + size if padded else part.stop, device=on)
        with autocast(resolve(cast(Any, precision), on), on):
            parts.append(sampler.sample(len(rows), given(rows), rng.shifted(part.start), **options))
    return torch.cat(parts)[:n]


class Drawn(NamedTuple):
    """Records x (n, *shape), the index of their class, and notes for the user."""

    x: Tensor
    row: int | None
    notes: tuple[str, ...]


def draw_samples(
    family: Family,
    n: int,
    noise: Noise,
    options: Mapping[str, Any],
    label: str | int | None,
    text: str | None,
    precision: str,
    *,
    size: int = CHUNK,
    padded: bool = False,
    compiled: bool = False,
    attributes: str | Mapping[str, Wanted] | None = None,
) -> Drawn:
    """Draw `n` samples, all of one class and prompt and with the wanted attributes; see `mg.sample`."""
    require_sampler(family)
    notes = class_notes(family.data, label, options.get("avoid"))
    given = resolve_sampling_options(family, options)
    networks = compilation.wrap_for_drawing(family) if compiled else []
    row = class_index(family, label)
    words = None if text is None else read_weighted_prompt(family, text)
    wanted = read_attributes(family, attributes)

    def given_of(rows: Tensor) -> RawCondition | None:
        cond = constant_condition(len(rows), row, words, family.device)
        return cond if wanted is None else wanted.condition(cond, rows, noise)

    x = sample_in_chunks(
        family,
        n,
        given_of,
        noise,
        given,
        precision=precision,
        size=size,
        padded=padded,
    )
    slow = [network.warning for network in networks if network.warning is not None]
    return Drawn(x, row, (*notes, *(words.warnings if words else ()), *slow))


def chunk_size(n: int, batch_size: int | None, exact: bool, compiled: bool) -> int:
    """The number of samples per chunk. Raises `UsageError` for options that contradict each other."""
    check_numbers(n=n, batch_size=batch_size)
    if compiled and exact:
        raise UsageError(
            "compiled arithmetic rounds in its own way, so it is never exact: give exact or compile, not both."
        )
    size = CHUNK if exact else (batch_size or CHUNK)
    return math.ceil(n / math.ceil(n / size)) if compiled else size  # compiled networks need one size


def resolve_sampling_options(family: Family, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the options that are not None against the family's `sample`, and prepare them.

    A class `avoid` becomes its index. A prompt `negative` becomes the condition that guidance leads away from. Raises
    `UsageError` for an option that the family's `sample` does not have.
    """
    given = {name: value for name, value in options.items() if value is not None}
    known = sampling_options(type(family))
    for name in given:
        if name not in known:
            others = [f for f in registry.names() if name in sampling_options(registry.family(f))]
            raise UsageError(
                f"a {family.name!r} model is not sampled with {name!r}; its options: {', '.join(known) or 'none'};"
                f" families that have {name!r}: {', '.join(others) or 'none'}."
            )
    check_numbers(**{name: value for name, value in given.items() if name in WHOLE or name in REAL})
    if "avoid" in given:
        given["avoid"] = class_index(family, given["avoid"])
    if "negative" in given:
        if "avoid" in given:
            raise UsageError("guidance leads away from one thing: give a class to avoid, or a negative prompt.")
        if given.get("guidance") == 1.0:
            raise UsageError(
                "guidance leads away from a negative prompt, and scale 1 is none: give another, such as 4, or leave the"
                " negative prompt out."
            )
        words = read_weighted_prompt(family, given.pop("negative"))
        given["avoid"] = constant_condition(1, None, words, family.device)
    return given


def with_default_guidance(family: Family, options: Mapping[str, Any]) -> dict[str, Any]:
    """Add a default guidance to `options` if there is a condition to lead away from and no scale is given."""
    spec: Any = family.spec
    knows = Denoises in family.capabilities and "guidance" in sampling_options(type(family))
    if options.get("guidance") is not None or not knows or spec.guidance != 1.0:
        return dict(options)
    led = {**options, "guidance": GUIDANCE}
    return dict(options) if guidance_lacks_null(family, led) else led


def guidance_lacks_null(family: Family, options: Mapping[str, Any]) -> bool:
    """Whether guidance would lead away from the empty condition, which the model has not learned."""
    away = options.get("negative") is not None or options.get("avoid") is not None
    return options.get("guidance", 1.0) != 1.0 and not (family.learned_without_condition or away)


def sampling_options(family: type[Family]) -> list[str]:
    """The keyword-only parameters of a family's `sample`, and "negative" if it has `avoid`."""
    method = getattr(family, "sample", None) if Samples in family.capabilities else None
    parameters = [] if method is None else list(signature(method).parameters.values())
    names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    return [*names, "negative"] if "avoid" in names else names
