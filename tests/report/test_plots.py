"""Curves and points: what is drawn is what was given; figures leave no global state and are deterministic."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from morphogen.core.errors import DataError
from morphogen.report.canvas import png
from morphogen.report.curves import curves, running_mean, series
from morphogen.report.log import read_log
from morphogen.report.points import scatter


def write_log(path: Path, steps: int) -> Path:
    lines = [json.dumps({"step": i, "terms": {"kl": 0.5 * i, "reconstruction": 90.0 - i}}) for i in range(steps)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_half_written_last_line_is_left_out_and_a_broken_one_is_named(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.jsonl", 3)
    log.write_text(log.read_text() + '{"step": 3, "ter')
    assert [r["step"] for r in read_log(log)] == [0, 1, 2]
    log.write_text('{"step": 0}\nnonsense\n{"step": 1}\n')
    with pytest.raises(DataError, match="line 2"):
        read_log(log)


def test_series_collects_numbers_only() -> None:
    records = [
        {"step": 0, "terms": {"a": 1, "b": [1, 2], "c": True}},
        {"terms": {"a": 5}},
        {"step": 2, "terms": {"a": 3.0}},
        {"step": 3},
    ]
    assert series(records) == {"a": ([0.0, 2.0], [1.0, 3.0])}


def test_running_mean_is_the_mean_of_the_last_values_that_are_finite() -> None:
    y = np.array([1.0, 2.0, np.nan, 4.0, 6.0])
    expected = [np.nanmean(y[max(0, i - 2) : i + 1]) for i in range(5)]
    assert np.allclose(running_mean(y, 3), expected, atol=1e-12)
    assert np.isnan(running_mean([np.inf], 1)[0])


def test_curves_of_a_log_are_one_line_a_term_with_the_last_value_in_the_legend(tmp_path: Path) -> None:
    fig = curves(series(read_log(write_log(tmp_path / "log.jsonl", 40))), title="Training")
    (axes,) = fig.axes
    assert [line.get_label() for line in axes.lines] == ["kl  19.5", "reconstruction  51"]
    assert list(axes.lines[0].get_xdata()) == list(range(40))
    assert png(fig)[:4] == b"\x89PNG"


def test_curves_of_nothing_are_an_error() -> None:
    with pytest.raises(DataError, match="no values to draw"):
        curves({}, title="Training")


def test_scatter_draws_every_point_once_and_names_the_classes() -> None:
    rng = np.random.default_rng(0)
    xy, labels = rng.normal(size=(50, 2)), np.arange(50) % 3 - 1
    fig = scatter(xy, labels=labels, classes=["cat", "dog"], reference=rng.normal(size=(9, 2)))
    (axes,) = fig.axes
    assert [c.get_label() for c in axes.collections] == ["data", "unknown", "cat", "dog"]
    drawn = np.concatenate([c.get_offsets() for c in axes.collections[1:]])
    assert np.array_equal(np.sort(drawn, axis=0), np.sort(xy, axis=0))
    with pytest.raises(DataError, match=r"\(N, 2\)"):
        scatter(np.zeros((4, 3)))


def test_figures_are_deterministic_and_leave_the_style_alone() -> None:
    before = dict(matplotlib.rcParams)
    lines = {"a": (range(100), np.sin(np.arange(100)))}
    assert png(curves(lines)) == png(curves(lines))
    assert dict(matplotlib.rcParams) == before
