"""Synthetic rows of a table."""

from __future__ import annotations

from typing import Any

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results.shown import warn_of
from morphogen.api.results.tables import SyntheticTable
from morphogen.applications.sampling import chunk_size
from morphogen.applications.synthesis import synthesize as drawn_rows
from morphogen.applications.synthesis import table_of
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data.tables.where import parse_where

BATCH = 1024  # rows are small


def synthesize(
    model: AnyModel,
    n: int = 1000,
    seed: int = 0,
    *,
    where: str | None = None,
    balance: str | None = None,
    allow_rare: bool = False,
    stepper: str | None = None,
    steps: int | None = None,
    temperature: float | None = None,
    truncation: float | None = None,
    batch_size: int | None = None,
    device: str | None = None,
    precision: str = "fp32",
) -> SyntheticTable:
    """Draw `n` synthetic rows that keep the rules of the table.

    Rows that break a rule, do not meet the conditions, or hold a value that fewer than five training records hold are
    drawn again. Numbers beyond the fifth smallest or largest training value become that value.

    Args:
        model: a held model of a table, or the path of its directory.
        n: how many rows.
        seed: where the noise starts, from 0 to 2^64 - 1.
        where: conditions, such as "sex=female, age>60, site in [va, cleveland], chol is missing".
        balance: a column whose values are to be equally frequent.
        allow_rare: give out rare values and extreme numbers, too.
        stepper, steps, temperature, truncation: as of `sample`.
        batch_size: how many rows are drawn together.
        device: where to draw; None leaves a held model where it is.
        precision: fp32, bf16 or auto.

    Returns:
        The rows; `warnings` say how many were drawn again, and why.

    Raises:
        UsageError: an unknown column or value, conditions that no row can meet, or that hardly any drawn row meets.
        CapabilityError: a model that draws nothing.

    Example:
        >>> rows = mg.synthesize("runs/patients", n=20, where="age>60", balance="sex")
        >>> len(rows)
        20
    """
    check_numbers(n=n, seed=seed, batch_size=batch_size)
    family = open_model(model, device).module
    table = table_of(family)
    given: dict[str, Any] = {"stepper": stepper, "steps": steps, "temperature": temperature, "truncation": truncation}
    found = drawn_rows(
        family,
        n,
        Rng(seed, family.device),
        where=None if where is None else parse_where(where, table),
        balance=balance,
        allow_rare=allow_rare,
        options=given,
        precision=precision,
        size=chunk_size(n, batch_size or BATCH, False, False),
    )
    return SyntheticTable(found.cells.numpy(), family.data, found.drawn, warn_of(found.notes()))
