"""Fill in the missing cells of rows, by a model that draws a row's other cells given those that are there."""

from __future__ import annotations

import torch
from torch import Tensor

from morphogen.applications.synthesis import has_rare, table_of, without_extremes
from morphogen.core.capabilities import Completes
from morphogen.core.chunks import chunks
from morphogen.core.columns import Table
from morphogen.core.family import Family, require
from morphogen.core.rng import Noise
from morphogen.data.tables.rules import Rules

CHUNK = 4096  # rows that are completed together
ROUNDS = 20  # in which rows whose filled cells break a rule or are rare are drawn again


def impute(family: Family, cells: Tensor, draws: int, noise: Noise, allow_missing: bool = False) -> Tensor:
    """Draw the missing cells `draws` times.

    A row whose drawn cells break a rule or hold a rare value is drawn again, up to 20 times; after that it stays.

    Args:
        family: a model that completes rows.
        cells: (N, C) float64, NaN where missing.
        draws: how many times.
        noise: row i of draw k has the address k N + i.
        allow_missing: a drawn cell may itself be missing, as the model has learned; else none is.

    Returns:
        (draws, N, C) float64, with the given cells as they are.

    Raises:
        CapabilityError: the model completes no rows.
    """
    table, model = table_of(family), require(family, Completes, "impute")
    given = ~cells.isnan()
    rules, n = Rules(table), len(cells)
    found = cells.repeat(draws, 1, 1)
    for k in range(draws):
        rows = (~given).any(1).nonzero()[:, 0]
        for attempt in range(ROUNDS):
            if not len(rows):
                break
            index = noise.child(f"attempt {attempt}") if attempt else noise
            parts = [(part.start, rows[part]) for part in chunks(len(rows), CHUNK)]
            made = torch.cat(
                [
                    model.complete(cells[some], given[some], index.shifted(k * n + at), present=not allow_missing).cpu()
                    for at, some in parts
                ]
            )
            made = torch.where(given[rows], cells[rows], without_extremes(made, table))
            found[k, rows] = made
            rare = has_rare(torch.where(given[rows], torch.nan, made), table)
            rows = rows[rare | ~rules.hold(made)]
    return found


def mean_and_spread(found: Tensor, table: Table) -> tuple[Tensor, Tensor]:
    """One table of several draws (K, N, C): the mean of numbers, and the most frequent of other values.

    Returns (N, C) twice: the cells, and their spread: the standard deviation of the draws of a number, and the share of
    the draws that give another value. Means are brought to the resolution of their column.
    """
    cells, spread = torch.empty_like(found[0]), torch.zeros_like(found[0])
    for j, column in enumerate(table.columns):
        drawn = found[:, :, j]
        if column.is_number:
            mean = drawn.mean(0)
            step, per = column.step
            cells[:, j] = (mean * per / step).round() * step / per if step else mean
            spread[:, j] = drawn.std(0, correction=1) if len(drawn) > 1 else 0.0
        else:
            cells[:, j] = drawn.nan_to_num(-1.0).mode(0).values
            spread[:, j] = (drawn.nan_to_num(-1.0) != cells[:, j]).double().mean(0)
            cells[:, j] = torch.where(cells[:, j] < 0, torch.nan, cells[:, j])
    return cells, spread
