"""Pictures from prompts: several prompts, several noises, what to keep away from, and the way from one to another.

Between prompts a and b, the condition at share s is both texts, a counted 1 - s times and b s times (`nn/text.py`), and
the pooled vector in between (`Condition.blended`). So it needs nothing of a model but that it reads a condition: GANs
and VAEs take that way like denoisers, at no further evaluation, where a mixture of denoised estimates would be for
denoisers alone and ask them twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from morphogen.api.drawing import (
    CHUNK,
    class_row,
    condition,
    drawer,
    drawn_how,
    guided,
    made,
    of_classes,
    weighted,
    without_null,
)
from morphogen.api.records import Pictures, device_of
from morphogen.core.batch import RawCondition
from morphogen.core.errors import UsageError, unknown
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Index, Rng
from morphogen.data.tokenizer import Read

ALONG = ("guidance", "seed")  # what the columns of a grid may be
MOST_COLUMNS = 1000
MOST_PROMPTS = 10_000


@dataclass(frozen=True)
class Drawing(Pictures):
    """Pictures in rows of `columns`, row by row, and the options in effect, so that they can be drawn again."""

    columns: int = 1
    how: Mapping[str, Any] = field(default_factory=dict)


def draw(
    model: Path | str,
    prompts: str | Sequence[str],
    n: int | None = None,
    seed: int = 0,
    *,
    negative: str | None = None,
    to: str | None = None,
    frames: int = 8,
    grid: Mapping[str, Sequence[float]] | None = None,
    label: str | int | None = None,
    exact: bool = False,
    batch_size: int | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    **how: Any,
) -> Drawing:
    """Draw `n` pictures of each prompt, by default 4, in a row. Picture j of a prompt depends on it, seed and j alone.

    `(words:1.3)` in a prompt count 1.3 times, and `negative` says what guidance leads away from.
    to, frames   the way from one prompt to this one: n rows of so many pictures, each row of the same noise
    grid         {"guidance": scales} or {"seed": seeds}: the first picture of each prompt (a row) at each of them
    label, exact, batch_size, device, precision, how    as of `sample`, with which it agrees at the same guidance
    Where the model was trained to also draw without a condition, and says nothing else, guidance is 4. A scale of 1 is
    none, so that there is nothing to lead away from `negative`; in a grid, that column is drawn without it.

    Raises `UsageError` for a model that reads no text, for options that its family does not take, and for a negative
    prompt at guidance 1.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    _check(texts, n, seed, to, frames, grid, batch_size, how)
    family = drawer(model, device)
    on, row, words = device_of(family), class_row(family.data, label, family), weighted(family, *texts)
    said = [*of_classes(family.data, label, how.get("avoid")), *words.warnings]
    rows, conditions = len(texts), _conditions(words, row, on)
    if to is not None:
        end = weighted(family, to)
        said += end.warnings
        rows, share = frames, torch.linspace(0.0, 1.0, frames, device=on)
        towards = _conditions(end, row, on).repeated(frames)
        conditions = replace(conditions.repeated(frames), towards=towards, share=share)
    given = {name: value for name, value in how.items() if value is not None}
    if negative is not None:
        given["negative"] = negative
        said += weighted(family, negative).warnings
    columns = [(s, guided(family, h)) for s, h in _columns(grid, seed, given)]
    if any(without_null(family, h) for _, h in columns):
        said.append(
            "trained without condition_dropout, the model knows no drawing without a prompt to be led away from."
        )
    n = n or (4 if grid is None else 1)
    size = CHUNK if exact else (batch_size or CHUNK)
    each = math.ceil(n / size) * size if exact else n  # then each condition has chunks of its own, as in `sample`
    found = [
        made(
            family,
            rows * each,
            lambda r: conditions[r // each],
            Recurring(Rng(s, on), each),
            drawn_how(family, h),
            precision=precision,
            size=size,
        ).reshape(rows, each, *family.data.shape)[:, :n]
        for s, h in columns
    ]
    x = np.concatenate(found, axis=1)  # (prompts, columns or n, *shape), or (frames, n, *shape)
    x = x if to is None else x.swapaxes(0, 1)
    labels = None if row is None else np.full(x.shape[0] * x.shape[1], row)
    effective = {name: value for name, value in columns[0][1].items() if name not in {"negative", *(grid or {})}}
    pictures = x.reshape(-1, *family.data.shape)
    warnings = tuple(dict.fromkeys(said))
    return Drawing(pictures, family.data, labels=labels, warnings=warnings, columns=x.shape[1], how=effective)


class Recurring(Rng):
    """The noise of the first `n` samples of `rng`, over and over."""

    def __init__(self, rng: Rng, n: int) -> None:
        super().__init__(rng.seed, rng.device, rng.offset)
        self.n = n

    def shifted(self, offset: int) -> Recurring:
        """The same, `offset` samples on."""
        return Recurring(super().shifted(offset), self.n)

    def child(self, name: str) -> Recurring:
        """The same of the child of this name."""
        return Recurring(super().child(name), self.n)

    def _indices(self, index: Index) -> Tensor:
        return super()._indices(index) % self.n


def _conditions(words: Read, row: int | None, device: torch.device) -> RawCondition:
    """One for each prompt."""
    return cast(RawCondition, condition(len(words.ids), row, words, device))


def _columns(
    grid: Mapping[str, Sequence[float]] | None, seed: int, how: dict[str, Any]
) -> list[tuple[int, dict[str, Any]]]:
    """Seed and options of each column."""
    if grid is None:
        return [(seed, how)]
    ((along, values),) = grid.items()
    if along == "seed":
        return [(int(v), how) for v in values]
    away = ("avoid", "negative")  # at scale 1 there is no guidance to lead away
    unled = {name: value for name, value in how.items() if name not in away}
    return [(seed, {**(unled if v == 1.0 else how), along: float(v)}) for v in values]


def _check(
    texts: Sequence[str],
    n: int | None,
    seed: int,
    to: str | None,
    frames: int,
    grid: Mapping[str, Sequence[float]] | None,
    batch_size: int | None,
    how: Mapping[str, Any],
) -> None:
    if not texts:
        raise UsageError("there is no prompt to draw: give one at least.")
    if len(texts) > MOST_PROMPTS:
        raise UsageError(f"at most {MOST_PROMPTS:,} prompts are drawn at once (got {len(texts):,}).")
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
        if len(values) > MOST_COLUMNS:
            raise UsageError(f"a grid has at most {MOST_COLUMNS} columns (got {len(values):,}).")
        check_numbers(**{along: list(values)})
        if how.get(along) is not None:
            raise UsageError(f"the {along} of each column is in the grid: leave out the other one.")
