"""Draw pictures from prompts: several prompts, several noises, negative prompts, and interpolation between prompts.

Between prompts a and b, the condition at share s has both texts, with the weights 1 - s and s
(`nn/conditioning/text.py`), and the interpolated pooled vector (`Condition.blended`). This works for every model that
reads a condition, for GANs and diffusion models alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from morphogen.applications.prompting import class_index, class_notes, constant_condition, read_weighted_prompt
from morphogen.applications.sampling import (
    CHUNK,
    guidance_lacks_null,
    require_sampler,
    resolve_sampling_options,
    sample_in_chunks,
    with_default_guidance,
)
from morphogen.core.batch import RawCondition
from morphogen.core.errors import UsageError, unknown
from morphogen.core.family import Family
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data.tokenizer import Read
from morphogen.sampling.noise import Recurring

ALONG = ("guidance", "seed")  # the possible columns of a grid
MAX_COLUMNS = 1000
MAX_PROMPTS = 10_000
FEW = 4  # default number of pictures per prompt


class Drawing(NamedTuple):
    """Pictures of prompts.

    x        (rows, columns, *shape): a row for each prompt, or for each noise of an interpolation
    row      the index of their class, if one was given
    options  the sampling options in effect
    notes    notes for the user about the prompts
    """

    x: Tensor
    row: int | None
    options: dict[str, Any]
    notes: tuple[str, ...]


def draw_prompts(
    family: Family,
    prompts: Sequence[str],
    n: int | None,
    seed: int,
    *,
    negative: str | None,
    to: str | None,
    frames: int,
    grid: Mapping[str, Sequence[float]] | None,
    label: str | int | None,
    exact: bool,
    batch_size: int | None,
    precision: str,
    options: Mapping[str, Any],
) -> Drawing:
    """Draw `n` pictures of each prompt (`FEW` by default), or an interpolation `to` another one, or a `grid`; see
    `mg.draw`.

    Raises `UsageError` for options that contradict each other, and as `read_weighted_prompt` and
    `resolve_sampling_options` do.
    """
    _check(prompts, n, seed, to, frames, grid, batch_size, options)
    require_sampler(family)
    on, row, words = family.device, class_index(family, label), read_weighted_prompt(family, *prompts)
    notes = [*class_notes(family.data, label, options.get("avoid")), *words.warnings]
    rows, conditions = len(prompts), _conditions(words, row, on)
    if to is not None:
        end = read_weighted_prompt(family, to)
        notes += end.warnings
        rows, share = frames, torch.linspace(0.0, 1.0, frames, device=on)
        towards = _conditions(end, row, on).repeated(frames)
        conditions = replace(conditions.repeated(frames), towards=towards, share=share)
    given = {name: value for name, value in options.items() if value is not None}
    if negative is not None:
        given["negative"] = negative
        notes += read_weighted_prompt(family, negative).warnings
    columns = [(s, with_default_guidance(family, own)) for s, own in _columns(grid, seed, given)]
    if any(guidance_lacks_null(family, own) for _, own in columns):
        notes.append(
            "trained without condition_dropout, the model knows no drawing without a prompt to be led away from."
        )
    n = n or (FEW if grid is None else 1)
    size = CHUNK if exact else (batch_size or CHUNK)
    each = math.ceil(n / size) * size if exact else n  # `exact`: each condition has its own chunks, as in `sample`
    found = [
        sample_in_chunks(
            family,
            rows * each,
            lambda r: conditions[r // each],
            Recurring(Rng(s, on), each),
            resolve_sampling_options(family, own),
            precision=precision,
            size=size,
        ).unflatten(0, (rows, each))[:, :n]
        for s, own in columns
    ]
    x = torch.cat(found, dim=1)  # (prompts, columns or n, *shape), or (frames, n, *shape)
    effective = {name: value for name, value in columns[0][1].items() if name not in {"negative", *(grid or {})}}
    return Drawing(x if to is None else x.transpose(0, 1), row, effective, tuple(dict.fromkeys(notes)))


def _conditions(words: Read, row: int | None, device: torch.device) -> RawCondition:
    """One condition for each prompt."""
    return cast(RawCondition, constant_condition(len(words.ids), row, words, device))


def _columns(
    grid: Mapping[str, Sequence[float]] | None, seed: int, options: dict[str, Any]
) -> list[tuple[int, dict[str, Any]]]:
    """The seed and the options of each column."""
    if grid is None:
        return [(seed, options)]
    ((along, values),) = grid.items()
    if along == "seed":
        return [(int(v), options) for v in values]
    away = ("avoid", "negative")  # at scale 1 there is no guidance
    unled = {name: value for name, value in options.items() if name not in away}
    return [(seed, {**(unled if v == 1.0 else options), along: float(v)}) for v in values]


def _check(
    texts: Sequence[str],
    n: int | None,
    seed: int,
    to: str | None,
    frames: int,
    grid: Mapping[str, Sequence[float]] | None,
    batch_size: int | None,
    options: Mapping[str, Any],
) -> None:
    if not texts:
        raise UsageError("there is no prompt to draw: give one at least.")
    if len(texts) > MAX_PROMPTS:
        raise UsageError(f"at most {MAX_PROMPTS:,} prompts are drawn at once (got {len(texts):,}).")
    check_numbers(n=n, seed=seed, frames=frames, batch_size=batch_size)
    if to is not None and (len(texts) > 1 or grid is not None):
        raise UsageError("the way to another prompt starts from one prompt, without a grid.")
    if grid is not None:
        if len(grid) != 1:
            raise UsageError(f"a grid has one thing along its columns, {' or '.join(ALONG)} (got {len(grid)}).")
        if n not in (None, 1):
            raise UsageError(f"a grid has one picture of each prompt in each column: leave out --n (got {n}).")
        ((along, values),) = grid.items()
        if along not in ALONG:
            raise UsageError(unknown("thing along a grid", along, ALONG))
        if not values:
            raise UsageError(f"a grid needs values of {along}: it has none.")
        if len(values) > MAX_COLUMNS:
            raise UsageError(f"a grid has at most {MAX_COLUMNS} columns (got {len(values):,}).")
        check_numbers(**{along: list(values)})
        if options.get(along) is not None:
            raise UsageError(f"the {along} of each column is in the grid: leave out the other one.")
