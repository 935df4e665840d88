"""Columns of numbers for tests, fitted as a source fits them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from morphogen.core.columns import Column, ColumnType, quantiles_of


def of_numbers(
    name: str, values: ArrayLike, resolution: float = 0.0, type: ColumnType = "number", **more: Any
) -> Column:
    """A column of numbers with the range and the quantiles of `values` (N,), which are finite."""
    v = np.asarray(values, dtype=np.float64)
    low, high = float(v.min()), float(v.max())
    fitted: dict[str, Any] = quantiles_of(v, resolution)
    return Column(name=name, type=type, low=low, high=high, resolution=resolution, **fitted, **more)
