"""Plots of a synthetic table beside a real one: marginals, associations and a projection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from morphogen.report.canvas import COLORS, empty_figure, styled
from morphogen.report.lettering import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REAL, MADE = "#9aa0a6", COLORS[0]
COLUMNS = 4  # plots in a row
MOST_PLOTS = 24
MOST_NAMES = 40  # names beside a matrix that can still be read
_LONGEST = 18  # characters of a name


class MarginalShares(Protocol):
    """The shares of one column: by labels, or by the bins between edges."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def edges(self) -> Any: ...
    @property
    def made(self) -> Any: ...
    @property
    def real(self) -> Any: ...
    @property
    def missing(self) -> tuple[float, float]: ...


@styled
def marginals(columns: Sequence[MarginalShares]) -> Figure:
    """A small plot a column, real in gray and synthetic in blue: at most 24, those that differ most."""
    shown = sorted(columns, key=lambda c: -float(np.abs(np.asarray(c.made) - np.asarray(c.real)).sum()))[:MOST_PLOTS]
    rows = max(1, math.ceil(len(shown) / COLUMNS))
    fig = empty_figure(11.0, 0.4 + 1.9 * rows)
    grid = np.asarray(fig.subplots(rows, COLUMNS, squeeze=False)).ravel()
    for axes, column in zip(grid, shown, strict=False):
        if column.edges is not None:
            axes.stairs(column.real, column.edges, fill=True, color=REAL, alpha=0.55)
            axes.stairs(column.made, column.edges, color=MADE, linewidth=1.4)
            axes.tick_params(axis="x", labelsize=7)
            axes.xaxis.get_major_locator().set_params(nbins=4)
        else:
            at = np.arange(len(column.labels))
            axes.bar(at - 0.2, column.real, 0.4, color=REAL, alpha=0.75)
            axes.bar(at + 0.2, column.made, 0.4, color=MADE)
            axes.set_xticks(at, [_short(label, 9) for label in column.labels], rotation=35, ha="right", fontsize=6.5)
            axes.grid(axis="x", visible=False)
        title = _short(column.name, 26)
        if max(column.missing) > 0.0:
            title += f"\nmissing {column.missing[1]:.0%} real, {column.missing[0]:.0%} synthetic"
        axes.set_title(title, fontsize=8)
        axes.tick_params(axis="y", labelsize=7)
        axes.set_ylim(bottom=0.0)
    for axes in grid[len(shown) :]:
        axes.set_visible(False)
    from matplotlib.patches import Patch

    handles = [Patch(color=REAL, label="real"), Patch(color=MADE, label="synthetic")]
    fig.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8)
    return fig


@styled
def associations(names: Sequence[str], real: Any, made: Any) -> Figure:
    """The matrices of real and synthetic rows (C, C), and their difference, on one scale from -1 to 1."""
    sides = np.asarray(real, dtype=float), np.asarray(made, dtype=float)
    count = len(names)
    fig = empty_figure(12.0, 4.6)
    grid = fig.subplots(1, 3)
    for axes, matrix, title in zip(
        grid, (*sides, sides[1] - sides[0]), ("real", "synthetic", "synthetic - real"), strict=True
    ):
        image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1.0, vmax=1.0, interpolation="nearest")
        axes.set_title(title)
        axes.grid(visible=False)
        size = max(3.0, min(7.0, 170.0 / max(count, 1)))
        if count <= MOST_NAMES:
            labels = [_short(name, _LONGEST) for name in names]
            axes.set_xticks(range(count), labels, rotation=90, fontsize=size)
            axes.set_yticks(range(count), labels if axes is grid[0] else [""] * count, fontsize=size)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
    fig.colorbar(image, ax=list(grid), shrink=0.8, pad=0.01)
    return fig


@styled
def projection(real: Any, made: Any, explained: tuple[float, float]) -> Figure:
    """Points (N, 2) of real and of synthetic rows in two plots with one scale, and both in a third."""
    points = [np.asarray(side, dtype=float) for side in (real, made)]
    fig = empty_figure(11.0, 3.8)
    grid = fig.subplots(1, 3, sharex=True, sharey=True)
    size = float(np.clip(3000.0 / max(1, len(points[0])), 3.0, 18.0))
    for axes, title, sides in zip(grid, ("real", "synthetic", "both"), ([0], [1], [0, 1]), strict=True):
        for side in sides:
            axes.scatter(*points[side].T, s=size, color=(REAL, MADE)[side], alpha=0.55, linewidths=0)
        axes.set_title(title)
        axes.set_xlabel(f"component 1 ({explained[0]:.0%})")
    grid[0].set_ylabel(f"component 2 ({explained[1]:.0%})")
    return fig


def _short(text: str, most: int) -> str:
    shown = drawable(text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
