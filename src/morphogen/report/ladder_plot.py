"""The ladder of degradations as a plot, a track for each, and as pictures, so that a rung can be seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from morphogen.core.errors import DataError
from morphogen.report.canvas import COLORS, figure, plain_ticks, styled
from morphogen.report.lettering import drawable, lettered
from morphogen.report.sheets import INK, sheet
from morphogen.report.tables import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Interval = tuple[float, float] | None
Track = Sequence[tuple[str, float]]

_RUNG, _QUIET, _FLOOR = "#3c4043", "#9aa0a6", "#eef1f4"
_LETTER = 8.0  # size of the rungs' labels in points
_TILE = 72  # pixels that a strength needs above its column


@styled
def ladder(
    tracks: Mapping[str, Track],
    *,
    models: Mapping[str, tuple[float, Interval]] | None = None,
    baselines: Mapping[str, float] | None = None,
    floor: tuple[float, Interval] | None = None,
    better: Literal["lower", "higher"] = "lower",
    x_label: str = "distance",
    title: str = "",
) -> Figure:
    """Rungs at their values, one horizontal track a degradation; models stand across all of them.

    tracks     degradation -> (strength in words, value), in growing harm
    models     name -> value and interval: a vertical line with a band
    baselines  name -> value: a track of their own at the bottom
    floor      value and interval; the ground on its better side is shaded

    The axis of a distance is logarithmic where its values span more than a factor of ten, and linear around 0 where
    some are not positive; that of a share (higher is better) is linear. Strengths whose words would cover each other
    are left without words. Raises `DataError` without a track.
    """
    if not any(tracks.values()):
        raise DataError("there are no rungs to draw a ladder of.")
    models, rows = models or {}, dict(tracks)
    if baselines:
        rows["baselines"] = list(baselines.items())
    everything = [v for track in rows.values() for _, v in track] + [v for v, _ in models.values()]
    everything += [floor[0]] if floor else []
    fig, axes = figure(width=8.5, height=1.3 + 0.52 * len(rows))
    _scale(axes, everything, better)
    heights = {name: len(rows) - 1 - i for i, name in enumerate(rows)}
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_yticks(list(heights.values()), labels=[drawable(name) for name in heights])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel=f"{drawable(x_label)} ({better} is better)", title=drawable(title))
    if floor:
        _draw_floor(axes, floor, better)
    for color, (name, (value, interval)) in zip(_colors(len(models)), models.items(), strict=True):
        if interval is not None:
            axes.axvspan(*interval, color=color, alpha=0.18, linewidth=0, zorder=1)
        axes.axvline(value, color=color, linewidth=1.8, zorder=2, label=f"{drawable(name)}  {number(value, interval)}")
    if floor or models:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    fig.draw_without_rendering()  # places the axes, so that the labels' room is known
    for name, track in rows.items():
        _draw_track(fig, axes, track, heights[name], marker="D" if name == "baselines" else "o")
    return fig


def ladder_pictures(rows: Mapping[str, Sequence[tuple[str, ArrayLike]]], scale: int | None = None) -> Image.Image:
    """A block of pictures for each degradation: a column a strength, a row a picture, each column the same pictures.

    rows   degradation -> (strength in words, pictures (K, C, H, W) uint8), such as a first one with the real pictures
    scale  whole enlargement factor; by default such that a strength in words fits above a picture
    """
    if not any(rows.values()):
        raise DataError("there are no pictures to draw a ladder of.")
    blocks = []
    for track in rows.values():
        columns = [np.asarray(pictures) for _, pictures in track]
        pictures = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])  # picture by picture, all strengths
        factor = scale or math.ceil(_TILE / pictures.shape[-1])
        blocks.append(sheet(pictures, columns=len(columns), column_labels=[s for s, _ in track], scale=factor))
    names = [lettered(name) for name in rows]
    left = max(math.ceil(font.getlength(name)) for name, font in names) + 14
    size = left + max(b.width for b in blocks), sum(b.height for b in blocks)
    canvas = Image.new("RGB", size, (255, 255, 255))
    draw: Any = ImageDraw.Draw(canvas)
    top = 0
    for (name, font), block in zip(names, blocks, strict=True):
        canvas.paste(block, (left, top))
        draw.text((left - 7, top + block.height / 2 + 8), name, INK, font=font, anchor="rm")
        top += block.height
    return canvas


def _scale(axes: Any, values: Sequence[float], better: str) -> None:
    low, high = min(values), max(values)
    if better == "lower" and low > 0.0 and high > 10.0 * low:
        axes.set_xscale("log")
        plain_ticks(axes.xaxis)
    elif better == "lower" and low <= 0.0 and high > -10.0 * low:  # unbiased estimates of nearly 0
        linear = 10.0 ** math.ceil(math.log10(max(-low, 1e-4 * high)))  # up to a decade, where ticks are
        axes.set_xscale("symlog", linthresh=linear)
        plain_ticks(axes.xaxis)
    to_axis = axes.xaxis.get_transform()
    left, right = to_axis.transform([low, high])
    margin = 0.04 * (right - left) or 1.0
    axes.set_xlim(*to_axis.inverted().transform([left - margin, right + margin]))


def _draw_floor(axes: Any, floor: tuple[float, Interval], better: str) -> None:
    value, interval = floor
    left, right = axes.get_xlim()
    axes.axvspan(*((left, value) if better == "lower" else (value, right)), color=_FLOOR, linewidth=0, zorder=0)
    label = f"floor  {number(value, interval)}"
    axes.axvline(value, color=_QUIET, linestyle="--", linewidth=1.2, zorder=1, label=label)


def _draw_track(fig: Figure, axes: Any, track: Track, height: int, marker: str) -> None:
    """The rungs, each with its words above, else below, else without, as there is room."""
    from matplotlib.patheffects import withStroke

    if not track:
        return
    values = [v for _, v in track]
    axes.plot([min(values), max(values)], [height, height], color=_QUIET, linewidth=1.0, zorder=2)
    axes.plot(values, [height] * len(values), marker, color=_RUNG, markersize=5, zorder=3)
    points = 72.0 / fig.dpi
    left, right = axes.bbox.x0 * points, axes.bbox.x1 * points
    used: dict[int, list[tuple[float, float]]] = {1: [], -1: []}
    for i in sorted(range(len(track)), key=lambda i: i not in (0, len(track) - 1)):  # the ends' words come first
        text, value = track[i]
        at = float(axes.transData.transform((value, height))[0]) * points
        half = 0.3 * _LETTER * len(text) + 1.5
        middle = min(max(at, left + half), right - half)  # words stay inside
        for side in (1, -1):
            if all(middle + half < a or middle - half > b for a, b in used[side]):
                used[side].append((middle - half, middle + half))
                words = axes.annotate(
                    text,
                    (value, height),
                    xytext=(middle - at, 5 * side),
                    textcoords="offset points",
                    ha="center",
                    va="bottom" if side > 0 else "top",
                    fontsize=_LETTER,
                    color=_RUNG,
                )
                words.set_path_effects([withStroke(linewidth=2.5, foreground="white")])  # legible on a model's line
                break


def _colors(n: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(n)]
