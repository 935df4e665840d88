"""Pictures of diffusion: chains as rows of pictures over time, as an animation, and the variance of the reverse chain.

Chains are pictures (n, m, C, H, W) uint8, n records at m times, under a name such as "x_t"; several chains of the same
records stand below each other, or side by side where they move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from morphogen.report.canvas import COLORS, figure, plain_ticks, styled
from morphogen.report.sheets import INK, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WHITE = (255, 255, 255)
LINE, MARGIN = 18, 7  # pixels


def chain_sheet(chains: Mapping[str, ArrayLike], t: ArrayLike, log_snr: ArrayLike, title: str) -> Image.Image:
    """A column for each time, headed by t and log-SNR; for each record a row of each of the named chains."""
    names, arrays = list(chains), [np.asarray(chain) for chain in chains.values()]
    rows = np.stack(arrays, axis=1)  # (n, chains, m, C, H, W)
    n, m = len(rows), rows.shape[2]
    body = sheet(rows.reshape(-1, *rows.shape[3:]), columns=m)
    heads = {"t": [f"{v:.2g}" for v in np.asarray(t)], "log-SNR": [_signed(v) for v in np.asarray(log_snr)]}
    font = ImageFont.load_default(size=13)
    left = max(math.ceil(font.getlength(text)) for text in (*names, *heads)) + 2 * MARGIN
    top = LINE * (1 + len(heads)) + 2 * MARGIN
    canvas = Image.new("RGB", (left + body.width, top + body.height), WHITE)
    canvas.paste(body, (left, top))
    draw: Any = ImageDraw.Draw(canvas)
    draw.text((left, MARGIN), title, INK, font=font, anchor="la")
    for line, (head, texts) in enumerate(heads.items(), start=1):
        y = MARGIN + line * LINE + LINE / 2
        draw.text((left - MARGIN, y), head, INK, font=font, anchor="rm")
        for column, text in enumerate(texts):
            draw.text((left + (column + 0.5) * body.width / m, y), text, INK, font=font, anchor="mm")
    for row, name in enumerate(names * n):
        y = top + (row + 0.5) * body.height / (n * len(names))
        draw.text((left - MARGIN, y), name, INK, font=font, anchor="rm")
    return canvas


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets below each other, their right edges in line."""
    canvas = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), WHITE)
    top = 0
    for one in sheets:
        canvas.paste(one, (canvas.width - one.width, top))
        top += one.height
    return canvas


def chain_frames(chains: Mapping[str, ArrayLike], t: ArrayLike, log_snr: ArrayLike, title: str) -> list[Image.Image]:
    """A frame for each time: the records of each of the named chains as a sheet, side by side."""
    arrays = [np.asarray(chain) for chain in chains.values()]
    font = ImageFont.load_default(size=13)
    frames = []
    for i, (at, snr) in enumerate(zip(np.asarray(t), np.asarray(log_snr), strict=True)):
        sheets = [sheet(chain[:, i]) for chain in arrays]
        width, height = sheets[0].size
        pitch, top = width + 2 * MARGIN, 2 * LINE + 2 * MARGIN
        canvas = Image.new("RGB", (max(len(sheets) * pitch - 2 * MARGIN, 250), top + height), WHITE)
        draw: Any = ImageDraw.Draw(canvas)
        draw.text((MARGIN, MARGIN), f"{title}   t {at:.2f}   log-SNR {_signed(snr)}", INK, font=font, anchor="la")
        for j, (name, one) in enumerate(zip(chains, sheets, strict=True)):
            canvas.paste(one, (j * pitch, top))
            draw.text((j * pitch + width / 2, top - MARGIN), name, INK, font=font, anchor="ms")
        frames.append(canvas)
    return frames


@styled
def variance_figure(
    log_snr: ArrayLike,
    *,
    beta: ArrayLike,
    beta_tilde: ArrayLike,
    learned: ArrayLike,
    measured: ArrayLike,
    interval: ArrayLike,
    title: str = "",
) -> Figure:
    """Reverse variances of strides as shares of beta, (strides,) each, against the log-SNR that a stride begins at.

    The ground between beta_tilde and beta, the choices of Ho et al. (2020), is shaded; `measured` is what the learned
    one should be, with its `interval` (strides, 2). The process runs from left to right. A stride that begins with
    noise alone is drawn at the left edge.
    """
    from matplotlib.ticker import LogLocator

    x, one = np.asarray(log_snr, dtype=np.float64), np.asarray(beta, dtype=np.float64)
    x = np.where(np.isneginf(x), np.min(x[np.isfinite(x)], initial=0.0) - 1.0, x)
    low, mine, real = (np.asarray(v, dtype=np.float64) / one for v in (beta_tilde, learned, measured))
    bars = np.abs(np.asarray(interval, dtype=np.float64).T / one - real)
    fig, axes = figure()
    axes.fill_between(x, low, 1.0, color="#eef1f4", linewidth=0, zorder=0)
    axes.plot(x, np.ones_like(x), color=COLORS[7], linewidth=1.2, linestyle="--", label="beta")
    axes.plot(x, mine, color=COLORS[0], linewidth=1.8, label="learned")
    axes.errorbar(x, real, bars, fmt="o", color=COLORS[1], markersize=4, linewidth=1.2, label="measured")
    axes.plot(x, low, color=COLORS[7], linewidth=1.2, linestyle=":", label="beta_tilde")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    plain_ticks(axes.yaxis)
    axes.set(xlabel="log-SNR of x_t", ylabel="variance of p(x_s | x_t) / beta", title=title)
    axes.margins(x=0.02)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return fig


def _signed(value: float) -> str:
    return f"{value:+.1f}" if math.isfinite(value) else str(value)
