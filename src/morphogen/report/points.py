"""Points in the plane: two-dimensional data, or two coordinates of latents, colored by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from morphogen.core.errors import DataError
from morphogen.report.canvas import COLORS, figure, styled
from morphogen.report.lettering import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def scatter(
    points: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    classes: Sequence[str] = (),
    reference: ArrayLike | None = None,
    title: str = "",
    axis_labels: tuple[str, str] = ("", ""),
) -> Figure:
    """Points (N, 2) on equal axes.

    labels     (N,) class numbers that color the points; -1 is drawn in gray
    classes    the classes' names, for the legend
    reference  (M, 2) points drawn in gray underneath, such as the data that a model has learned from
    """
    xy = _plane(points)
    fig, axes = figure(width=5.0, height=4.4)
    size = float(np.clip(4000.0 / max(len(xy), 1), 4.0, 24.0))
    if reference is not None:
        below = _plane(reference)
        axes.scatter(*below.T, s=size, color="#c4c8cc", linewidths=0, label="data")
    if labels is None:
        axes.scatter(*xy.T, s=size, color=COLORS[0], alpha=0.7, linewidths=0, label="model")
    else:
        groups = np.asarray(labels)
        present = [int(k) for k in np.unique(groups)]
        from matplotlib import colormaps

        many = colormaps["tab20"]
        for k in present:
            few = len(present) <= len(COLORS)
            color = "#9aa0a6" if k < 0 else COLORS[k % len(COLORS)] if few else many((k % 10) * 2 + (k // 10) % 2)
            name = "unknown" if k < 0 else drawable(classes[k]) if k < len(classes) else str(k)
            axes.scatter(*xy[groups == k].T, s=size, color=color, alpha=0.75, linewidths=0, label=name)
    if reference is not None or labels is not None:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=max(1.0, (36.0 / size) ** 0.5))
    axes.set(title=title, xlabel=axis_labels[0], ylabel=axis_labels[1])
    axes.set_aspect("equal", adjustable="datalim")
    return fig


def _plane(points: ArrayLike) -> np.ndarray:
    xy = np.asarray(points, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2:
        raise DataError(f"a scatter plot needs points of shape (N, 2); got {xy.shape}.")
    return xy
