"""The common style of plots: size, type, color. Matplotlib's Agg draws them without pyplot, so without global state."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:  # it takes a second to import, which only drawing needs
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

# After Okabe and Ito (2008): told apart by color-blind readers too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6B5B95", "#4D4D4D")
PIXELS_PER_INCH = 160  # twice the screen's, so that print and dense displays stay sharp

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a $ in a name is a dollar
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.edgecolor": "#9aa0a6",
    "axes.labelcolor": "#3c4043",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e5e8",
    "grid.linewidth": 0.8,
    "xtick.color": "#5f6368",
    "ytick.color": "#5f6368",
    "xtick.direction": "out",
    "legend.frameon": False,
    "figure.facecolor": "white",
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that draws: matplotlib reads its style while it draws."""

    @functools.wraps(draw)
    def drawing(*args: P.args, **kwargs: P.kwargs) -> R:
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return drawing


def empty_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, which places its plots by itself."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(fig)
    return fig


def figure(width: float = 7.0, height: float = 3.2) -> tuple[Figure, Any]:
    """A figure of that size in inches, and its one plot."""
    fig = empty_figure(width, height)
    return fig, fig.add_subplot()


def plain_ticks(*axes: Any) -> None:
    """Numbers at the ticks of logarithmic axes as text, since a formula is not set (`text.parse_math`)."""
    from matplotlib.ticker import NullFormatter

    for axis in axes:
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


@styled
def png(fig: Figure) -> bytes:
    """The figure as PNG; the same figure always gives the same bytes."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=PIXELS_PER_INCH, metadata={"Software": None})
    return out.getvalue()
