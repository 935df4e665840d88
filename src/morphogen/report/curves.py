"""Curves of training: the loss and its parts against the step, from a log of JSON lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from morphogen.core.errors import DataError
from morphogen.report.canvas import COLORS, figure, styled
from morphogen.report.lettering import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Series = tuple[Sequence[float], Sequence[float]]


def series(records: Sequence[Mapping[str, Any]], group: str = "terms", against: str = "step") -> dict[str, Series]:
    """name -> (steps, values) for each number that the records hold under `group`."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        for name, value in dict(record.get(group) or {}).items():
            if isinstance(value, int | float) and not isinstance(value, bool) and against in record:
                xs, ys = found.setdefault(name, ([], []))
                xs.append(float(record[against]))
                ys.append(float(value))
    return dict(found)


@styled
def curves(
    lines: Mapping[str, Series], *, title: str = "", x_label: str = "step", y_label: str = "nats a record"
) -> Figure:
    """One curve a name: the values faint where they are noisy, and their running mean in full color.

    The vertical range leaves out the first twentieth of each curve, whose fall from initialization
    would flatten all the rest. Raises `DataError` when there is nothing to draw.
    """
    lines = {name: (xs, ys) for name, (xs, ys) in lines.items() if len(xs)}
    if not lines:
        raise DataError("there are no values to draw: the log holds no record with them.")
    fig, axes = figure()
    settled: list[float] = []
    for i, (name, (xs, ys)) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        y = np.asarray(ys, dtype=np.float64)
        mean = running_mean(y, max(1, len(y) // 50))
        if len(y) >= 50:
            axes.plot(xs, y, color=color, alpha=0.22, linewidth=0.8)
        axes.plot(xs, mean, color=color, linewidth=1.8, label=f"{drawable(name)}  {mean[-1]:.4g}")
        settled += [v for v in mean[len(y) // 20 :] if np.isfinite(v)]
    if settled:
        low, high = min(settled), max(settled)
        margin = 0.06 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.margins(x=0.01)
    axes.legend(loc="best", ncols=2 if len(lines) > 3 else 1)
    return fig


def running_mean(values: Sequence[float] | np.ndarray, width: int) -> np.ndarray:
    """Mean over the last `width` values, over fewer at the start; non-finite values are skipped."""
    y = np.asarray(values, dtype=np.float64)
    good = np.isfinite(y)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, y, 0.0))])
    count = np.concatenate([[0], np.cumsum(good)])
    end = np.arange(1, len(y) + 1)
    start = np.maximum(end - width, 0)
    n = count[end] - count[start]
    return np.where(n > 0, (total[end] - total[start]) / np.maximum(n, 1), np.nan)
