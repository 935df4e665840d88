"""The missing cells of rows, filled in."""

from __future__ import annotations

from morphogen.api.opened import AnyModel, open_model
from morphogen.api.results.shown import warn_of
from morphogen.api.results.tables import Imputed
from morphogen.applications.imputation import impute as fill_in
from morphogen.applications.imputation import mean_and_spread
from morphogen.applications.synthesis import table_of
from morphogen.core.chunks import limited
from morphogen.core.errors import UsageError
from morphogen.core.limits import check_numbers
from morphogen.core.rng import Rng
from morphogen.data.in_memory import AnyData
from morphogen.data.tables.completed import GivenRows, completed, given_rows
from morphogen.data.tables.writing import has_decimal_commas

MEAN_DRAWS = 30  # that a mean and its spread are taken of


@limited
def impute(
    model: AnyModel,
    data: AnyData,
    *,
    draws: int | None = None,
    mean: bool = False,
    seed: int = 0,
    allow_missing: bool = False,
    device: str | None = None,
    batch_size: int | None = None,
) -> Imputed:
    """Fill in the missing cells of rows: x_missing ~ p(x_missing | x_given).

    Given cells, and columns that the model does not know, stay as they are.

    Args:
        model: a held model that completes rows, such as an autoregressive one, or the path of its directory.
        data: a file, a named table, or a data frame, with the columns of the model's table.
        draws: how often each row is completed; None is 1, and 30 for a mean.
        mean: instead of the draws give their mean (the most frequent value of a category), and its spread: the standard
            deviation of a number, and the share of draws that give another value.
        seed: where the noise starts.
        allow_missing: a cell may stay missing as often as in the training data.
        device: where to compute; None leaves a held model where it is.
        batch_size: how many records are computed together, at most; None: as many as are fast.

    Returns:
        The rows, and how many cells were filled in.

    Raises:
        CapabilityError: the model does not complete rows.
        DataError: data that do not fit the model.

    Example:
        >>> filled = mg.impute("runs/patients", "patients.csv", draws=5)
        >>> filled.frame["draw"].max()
        5
    """
    check_numbers(seed=seed, draws=draws)
    family = open_model(model, device).module
    table = table_of(family)
    if mean and draws == 1:
        raise UsageError("a mean with its spread needs several draws: give draws=2 or more, or leave it out.")
    rows: GivenRows = given_rows(data, family.data)
    count = draws or (MEAN_DRAWS if mean else 1)
    found = fill_in(family, rows.cells, count, Rng(seed, family.device), allow_missing)
    filled = {name: int(rows.cells[:, j].isnan().sum()) for j, name in enumerate(table.names)}
    if mean:
        cells, spread = mean_and_spread(found, table)
        frame = completed(rows, table, cells[None], spread)
    else:
        frame = completed(rows, table, found)
    filled = {name: n for name, n in filled.items() if n}
    notes = rows.notes if filled else (*rows.notes, "no cell of these rows is missing")
    return Imputed(frame, filled, warn_of(notes), has_decimal_commas(table))
