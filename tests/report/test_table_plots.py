"""Plots of a synthetic table: they show what they are given, and odd tables too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from morphogen.report.canvas import png
from morphogen.report.evaluation_page import page
from morphogen.report.table_plots import MOST_PLOTS, associations, marginals, projection


@dataclass
class Shares:
    name: str
    labels: tuple[str, ...]
    edges: Any
    made: Any
    real: Any
    missing: tuple[float, float] = (0.0, 0.0)


def numbers(name: str, shift: float = 0.0) -> Shares:
    shares = np.array([0.25, 0.5, 0.25])
    return Shares(name, (), np.arange(4.0), shares + np.array([shift, -shift, 0.0]), shares)


def test_the_columns_that_differ_most_come_first_and_no_more_than_fit() -> None:
    columns = [numbers(f"c{i}", 0.01 * i) for i in range(30)]
    fig = marginals(columns)
    titles = [axes.get_title(loc="left") for axes in fig.axes if axes.get_visible()]
    assert titles == [f"c{i}" for i in range(29, 29 - MOST_PLOTS, -1)]


def test_categories_missing_cells_and_strange_names_are_drawn() -> None:
    label = Shares("$x_1$\n<b>", ("None", "ü", "x" * 300), None, np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5]))
    label.missing = (0.1, 0.25)
    fig = marginals([label, numbers("n")])
    assert "missing 25% real, 10% synthetic" in fig.axes[0].get_title(loc="left")
    assert png(fig)[:4] == b"\x89PNG"


@pytest.mark.parametrize("count", [1, 5, 60])
def test_three_matrices_are_drawn_on_one_scale(count: int) -> None:
    real, made = np.eye(count), np.ones((count, count))
    fig = associations([f"column {i}" for i in range(count)], real, made)
    shown = [axes.images[0] for axes in fig.axes[:3]]
    assert np.allclose(shown[2].get_array(), made - real)
    assert {image.get_clim() for image in shown} == {(-1.0, 1.0)}
    assert png(fig)[:4] == b"\x89PNG"


def test_the_projection_shows_each_side_and_both() -> None:
    fig = projection(np.zeros((5, 2)), np.ones((3, 2)), (0.5, 0.25))
    counts = [[len(points.get_offsets()) for points in axes.collections] for axes in fig.axes]
    assert counts == [[5], [3], [5, 3]]


def test_a_page_begins_with_the_verdict() -> None:
    verdict = {"useful": "useful", "why_useful": "close", "private": "leaks", "why_private": "copies"}
    model = {"model": "m", "data": "d", "results": [], "left_out": {}, "ladders": {}, "verdict": verdict}
    figures = {"m": [(projection(np.zeros((2, 2)), np.ones((2, 2)), (0.5, 0.5)), "a projection")]}
    text = page([model], figures=figures).html()
    assert text.index("Verdict") < text.index("Results") < text.index("a projection")
    assert "leaks" in text and "copies" in text
