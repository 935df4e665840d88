"""The common style of plots: size, type, color. Matplotlib's Agg draws them without pyplot, so without global state."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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


styled = rc_context(STYLE)  # decorates a function that draws: matplotlib reads its style while it draws


def figure(width: float = 7.0, height: float = 3.2) -> tuple[Figure, Any]:
    """A figure of that size in inches, and its one plot."""
    fig = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(fig)
    return fig, fig.add_subplot()


@styled
def png(fig: Figure) -> bytes:
    """The figure as PNG; the same figure always gives the same bytes."""
    out = io.BytesIO()
    fig.savefig(out, format="png", dpi=PIXELS_PER_INCH, metadata={"Software": None})
    return out.getvalue()
