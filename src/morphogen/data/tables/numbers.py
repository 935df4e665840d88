"""Numbers in text: what is one, how it is written, and the step between neighbors.

How numbers are written is kept as a pattern: "0.0##" has at least one decimal and at most three; "0,00" has a decimal
comma; "" is the shortest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from morphogen.core.columns import Column

if TYPE_CHECKING:
    import polars

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+$"
MISSING_WORDS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "?")  # among numbers only
MAX_STEPS = 1_000_000  # multiples of a resolution in a range; what is finer is a real number, but for whole numbers
MAX_DECIMALS = 12


@dataclass(frozen=True)
class Numbers:
    """A column of numbers.

    values      (N,) float64, NaN where missing; infinite where so written
    least, most the fewest and the most decimals; `most` without zeros at the end
    comma       whether there is a decimal comma
    """

    values: np.ndarray
    least: int
    most: int
    comma: bool

    @property
    def present(self) -> np.ndarray:
        """Those that are not missing."""
        return self.values[~np.isnan(self.values)]

    @property
    def pattern(self) -> str:
        """How they are written."""
        most = max(self.least, self.most)
        if not 0 < most <= MAX_DECIMALS:
            return "0," if self.comma else ""
        return "0" + ("," if self.comma else ".") + "0" * self.least + "#" * (most - self.least)

    @property
    def resolution(self) -> float:
        """The largest number of which all are multiples; 0 if there are more than a million in their range."""
        if self.most > MAX_DECIMALS or not len(self.present):
            return 0.0
        scaled = np.round(self.present * 10.0**self.most)
        if np.abs(scaled).max(initial=0.0) >= 2.0**53:
            return 0.0
        different = np.unique(scaled).astype(np.int64)
        step = int(np.gcd.reduce(different)) if len(different) > 2 else 1
        if self.most and (different[-1] - different[0]) / max(step, 1) > MAX_STEPS:
            return 0.0
        return float(Decimal(max(step, 1)).scaleb(-self.most))


def numbers_in(text: polars.Series, comma: bool) -> Numbers | None:
    """The numbers of a column of text, or None if a cell is no number."""
    import polars as pl

    plain = text.str.strip_chars()
    if comma:
        if plain.str.contains(".", literal=True).any():
            return None
        plain = plain.str.replace(",", ".", literal=True)
    if not plain.str.contains(_NUMBER).all():
        return None
    values = plain.str.to_lowercase().cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
    if plain.str.contains("[eE]").any():
        plainly = plain.filter(~plain.str.contains("[eE]"))
        least = plainly.str.extract(r"\.(\d*)$", 1).str.len_chars().fill_null(0).min()
        known = values[np.isfinite(values)]
        return Numbers(values, _count(least), decimals_of(known), comma)
    fraction = plain.str.extract(r"\.(\d*)$", 1)
    lengths = fraction.str.len_chars().fill_null(0).filter(plain.is_not_null())
    most = fraction.str.strip_chars_end("0").str.len_chars().max()
    least = lengths.min()
    return Numbers(values, _count(least), _count(most), comma)


def _count(found: object) -> int:
    """A count that a column without cells does not have."""
    return found if isinstance(found, int) else 0


def decimals_of(values: np.ndarray) -> int:
    """The most decimals that the shortest texts of these numbers have."""
    exponents = (Decimal(repr(v)).normalize().as_tuple().exponent for v in np.unique(values).tolist())
    return max((-e for e in exponents if isinstance(e, int)), default=0) if len(values) else 0


def has_decimal_comma(text: polars.Series) -> bool | None:
    """Whether all cells are numbers once their commas are points; None where the commas may mark thousands."""
    commas = text.str.contains(",", literal=True)
    if not commas.any():
        return False
    if numbers_in(text, True) is None:
        return False
    return None if text.filter(commas).str.strip_chars().str.contains(_THOUSANDS).all() else True


def written(values: np.ndarray, column: Column) -> list[str | None]:
    """Numbers as the pattern of their column says; None for NaN."""
    pattern = column.format
    comma = "," in pattern
    decimals = pattern.replace(",", ".").partition(".")[2]
    least, most = decimals.count("0"), len(decimals)
    if column.type == "integer" and not decimals:
        return [None if math.isnan(v) else str(round(v)) for v in values.tolist()]
    found: list[str | None] = []
    for v in values.tolist():
        if math.isnan(v):
            found.append(None)
            continue
        if decimals:
            text = f"{v:.{most}f}"
            whole, _, fraction = text.partition(".")
            fraction = fraction[:least] + fraction[least:].rstrip("0")
        else:
            text = f"{v:.12g}"
            whole, _, fraction = text.partition(".")
        text = whole + ("." + fraction if fraction else "")
        text = text.removeprefix("-") if float(text) == 0 else text
        found.append(text.replace(".", ",") if comma else text)
    return found
