"""Synthetic rows of a table: rows that a model draws, without those that must not be given out.

A row is drawn again if it breaks a rule of the table, holds a value that fewer than five training records hold, does
not meet the conditions that were asked for, or belongs to a class that has its share already. So the rows are those of
the model given that none of this is the case: rejection sampling is exact, and its price is the share that is drawn
again. A model that completes rows (`Completes`) draws with the cells that conditions fix, which costs nothing.

Numbers beyond the fifth smallest and the fifth largest training value become these, unless rare values are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from morphogen.applications.records import check_made
from morphogen.applications.sampling import CHUNK, require_sampler, resolve_sampling_options, sample_in_chunks
from morphogen.core.capabilities import Completes
from morphogen.core.columns import Table
from morphogen.core.errors import DataError, UsageError, unknown
from morphogen.core.family import Family
from morphogen.core.printable import shortened
from morphogen.core.rng import Noise
from morphogen.data.tables.rules import Rules
from morphogen.data.tables.where import Where

MOST_PER_ROW = 300  # rows drawn for each that is given out, before the call gives up
_FEWEST = 256  # rows of a round
_MOST = 1 << 16

Draw = Callable[[int, int], Tensor]  # (rows, offset) -> cells (rows, C)


@dataclass(frozen=True)
class Synthesized:
    """Rows that may be given out.

    cells    (n, C)
    drawn    how many rows were drawn for them
    refused  why how many of these were drawn again: a rule, "rare values", "the conditions", "balance"
    """

    cells: Tensor
    drawn: int
    refused: Mapping[str, int] = field(default_factory=dict)

    def notes(self) -> tuple[str, ...]:
        """What is to be said about the rows that were drawn again, a sentence each."""
        return tuple(
            f"{count:,} of {self.drawn:,} rows ({count / self.drawn:.1%}) were drawn again because of {why}"
            for why, count in self.refused.items()
            if count
        )


def table_of(family: Family) -> Table:
    """The schema of a model's table. Raises `UsageError` where it knows no table."""
    if family.data.table is None:
        raise UsageError(
            f"this model makes records of {family.data.name}, which is no table: train one on a table, such as a .csv"
            " or .parquet file."
        )
    return family.data.table


def synthesize(
    family: Family,
    n: int,
    noise: Noise,
    *,
    where: Where | None = None,
    balance: str | None = None,
    allow_rare: bool = False,
    options: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    size: int = CHUNK,
) -> Synthesized:
    """Draw `n` rows that keep the rules, meet the conditions and hold no rare values.

    Row i depends on the seed and on what was refused before it, so n rows are the first n of more.

    Raises `UsageError` for a column to balance that has no values, and where hardly any row meets the conditions.
    """
    table = table_of(family)
    fixed = where.exact(table) if where is not None else None
    if Completes in family.capabilities and isinstance(family, Completes):
        draw = _completing(family, table, fixed, balanced_places(table, balance, allow_rare), balance, noise)
    else:
        require_sampler(family)
        draw = _sampling(family, noise, resolve_sampling_options(family, options or {}), precision, size)
    shares = None
    if balance is not None:
        shares = table.names.index(balance), _quotas(table, balance, allow_rare, n)
    return accepted(draw, n, table, where, shares, allow_rare)


def accepted(
    draw: Draw,
    n: int,
    table: Table,
    where: Where | None = None,
    balance: tuple[int, Mapping[int, int]] | None = None,
    allow_rare: bool = False,
) -> Synthesized:
    """The first `n` rows of `draw` that may be given out.

    `balance` is a column and how many rows are to have each of its values.
    """
    rules = Rules(table)
    room = None if balance is None else dict(balance[1])
    kept: list[Tensor] = []
    counts = {"the rules of the table": 0, "rare values": 0, "the conditions": 0, "balance": 0}
    found = drawn = 0
    while found < n:
        share = max(found / drawn, 1e-3) if drawn else 1.0
        rows = min(_MOST, n if not drawn else max(_FEWEST, int((n - found) / share * 1.1)))
        if drawn > MOST_PER_ROW * max(n, 100):
            raise _given_up(found, drawn, counts, where)
        cells = draw(rows, drawn)
        cells = cells if allow_rare else without_extremes(cells, table)
        good = torch.ones(len(cells), dtype=torch.bool)
        for why, check in (
            ("the rules of the table", rules.hold),
            ("rare values", lambda c: torch.ones(len(c), dtype=torch.bool) if allow_rare else ~has_rare(c, table)),
            ("the conditions", lambda c: where.hold(c) if where is not None else torch.ones(len(c), dtype=torch.bool)),
        ):
            passed = check(cells)
            counts[why] += int((good & ~passed).sum())
            good &= passed
        if balance is not None and room is not None:
            before = int(good.sum())
            good = _with_room(cells[:, balance[0]], good, room)
            counts["balance"] += before - int(good.sum())
        kept.append(cells[good])
        found, drawn = found + int(good.sum()), drawn + rows
    return Synthesized(torch.cat(kept)[:n], drawn, counts)


def has_rare(cells: Tensor, table: Table) -> Tensor:
    """(B,) bool: which rows hold a value that fewer than five training records hold."""
    found = torch.zeros(len(cells), dtype=torch.bool)
    for j, column in enumerate(table.columns):
        if column.rare:
            found |= torch.isin(cells[:, j], torch.tensor(column.rare, dtype=cells.dtype))
    return found


def without_extremes(cells: Tensor, table: Table) -> Tensor:
    """Cells whose numbers lie between the fifth smallest and the fifth largest training value."""
    cells = cells.clone()
    for j, column in enumerate(table.columns):
        if column.is_number and column.common is not None:
            cells[:, j] = cells[:, j].clamp(*column.common)
    return cells


def balanced_places(table: Table, balance: str | None, allow_rare: bool) -> list[int]:
    """The values of a column that are to be equally frequent; none where there is nothing to balance."""
    if balance is None:
        return []
    if balance not in table.names:
        raise UsageError(f"--balance: {unknown('column', balance, table.names)}")
    column = table[balance]
    if column.is_number:
        raise UsageError(f"--balance {shortened(balance)}: the column holds numbers; balance one that has values.")
    return [place for place in range(len(column.values)) if allow_rare or place not in column.rare]


def _quotas(table: Table, balance: str, allow_rare: bool, n: int) -> dict[int, int]:
    places = balanced_places(table, balance, allow_rare)
    if not places:
        raise DataError(f"--balance {shortened(balance)}: fewer than five records hold each of its values.")
    return {place: n // len(places) + (i < n % len(places)) for i, place in enumerate(places)}


def _with_room(cells: Tensor, good: Tensor, room: dict[int, int]) -> Tensor:
    """The good rows whose value has not its share already; `room` is what remains."""
    kept = torch.zeros_like(good)
    for place in room:
        rows = (good & (cells == place)).nonzero()[: room[place], 0]
        kept[rows] = True
        room[place] -= len(rows)
    return kept


def _sampling(family: Family, noise: Noise, options: Mapping[str, Any], precision: str, size: int) -> Draw:
    def draw(rows: int, offset: int) -> Tensor:
        x = sample_in_chunks(
            family, rows, lambda _: None, noise.shifted(offset), options, precision=precision, size=size
        )
        return family.data.decode(check_made(x.detach())).cpu()

    return draw


def _completing(
    family: Completes,
    table: Table,
    fixed: tuple[Tensor, Tensor] | None,
    places: list[int],
    balance: str | None,
    noise: Noise,
) -> Draw:
    """Rows with the cells that conditions fix, and with the balanced values in turn."""
    cells, given = fixed or (torch.full((len(table.columns),), torch.nan, dtype=torch.float64), None)
    known = torch.zeros(len(table.columns), dtype=torch.bool) if given is None else given

    def draw(rows: int, offset: int) -> Tensor:
        start, mask = cells.repeat(rows, 1), known.repeat(rows, 1)
        if balance is not None:
            j = table.names.index(balance)
            if not bool(known[j]):
                start[:, j] = torch.tensor(places, dtype=torch.float64)[(torch.arange(rows) + offset) % len(places)]
                mask[:, j] = True
        return family.complete(start, mask, noise.shifted(offset)).cpu()

    return draw


def _given_up(found: int, drawn: int, counts: Mapping[str, int], where: Where | None) -> UsageError:
    why = max(counts, key=lambda name: counts[name])
    said = f"{where}" if why == "the conditions" else why
    return UsageError(
        f"only {found:,} of {drawn:,} rows that the model drew can be given out, most often because of"
        f" {shortened(said, 200)}: loosen it, ask for fewer rows, or use an autoregressive model, which draws with"
        " conditions that name a value."
    )
