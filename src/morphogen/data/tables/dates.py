"""Dates and times in text: their format, and seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from morphogen.core.errors import DataError
from morphogen.core.printable import shortened

if TYPE_CHECKING:
    import polars

DAY = 86400.0
FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y",
    "%m/%d/%Y",
)
_LIKE_DATES = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}(:\d{2})?Z?)?$"
_STEPS = (DAY, 3600.0, 60.0, 1.0)


def seconds_in(text: polars.Series, form: str) -> np.ndarray:
    """(N,) seconds since 1970, NaN where missing or not written so."""
    import polars as pl

    clean = text.str.strip_chars()
    if form.endswith("Z"):
        clean, form = clean.str.strip_suffix("Z"), form[:-1]
    if "%H" in form:
        found = clean.str.to_datetime(form, strict=False, time_unit="us")
    else:
        found = clean.str.to_date(form, strict=False).cast(pl.Datetime("us"))
    return typed_seconds(found)


def typed_seconds(found: polars.Series) -> np.ndarray:
    """(N,) seconds since 1970 of a column of dates or times, NaN where missing."""
    import polars as pl

    micro = found.cast(pl.Datetime("us")).dt.timestamp("us")
    return micro.cast(pl.Float64).to_numpy().astype(np.float64) / 1e6


def format_of(text: polars.Series, what: str) -> str | None:
    """The format that all cells have, or None where these are no dates.

    Raises `DataError` for a date that is none, such as 2020-13-01, and where day and month cannot be told apart.
    """
    present = text.drop_nulls()
    if not present.str.strip_chars().str.contains(_LIKE_DATES).all():
        return None
    different = present.unique(maintain_order=True)
    good = [form for form in FORMATS if not np.isnan(seconds_in(different, form)).any()]
    if {"%d/%m/%Y", "%m/%d/%Y"} <= set(good):
        raise DataError(
            f"{what}: day and month of its dates cannot be told apart; give dates=%d/%m/%Y or dates=%m/%d/%Y."
        )
    if good:
        return good[0]
    likely = max(FORMATS, key=lambda form: int((~np.isnan(seconds_in(different, form))).sum()))
    bad = np.isnan(seconds_in(present, likely))
    if bad.mean() > 0.1:
        return None
    row = int(np.flatnonzero(np.isnan(seconds_in(text, likely)) & text.is_not_null().to_numpy())[0])
    raise DataError(
        f"{what}, row {row + 1:,}: this is no date as {likely}, and may be out of range; mend it, or give"
        f" category={shortened(text.name)}."
    )


def step_of(seconds: np.ndarray) -> float:
    """The largest of a day, an hour, a minute and a second of which all are multiples; else 0."""
    present = seconds[~np.isnan(seconds)]
    return next((step for step in _STEPS if not np.any(present % step)), 0.0)


def written(seconds: float, form: str) -> str:
    """A date or a time as text."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime(form or "%Y-%m-%dT%H:%M:%S")


def parsed(text: Any, form: str, what: str) -> float:
    """Seconds since 1970 of one date. Raises `DataError` for what is none."""
    try:
        return datetime.strptime(str(text), form.removesuffix("Z")).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise DataError(f"{what}: expected a date as {form} (got {shortened(str(text), 40)!r}).") from None
