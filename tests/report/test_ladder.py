"""The plot draws each value where it is, and the sheet shows each picture that it was given."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.core.errors import DataError
from morphogen.report.canvas import png
from morphogen.report.ladder_plot import ladder, ladder_pictures

TRACKS = {
    "blur": [("0.25 px", 1.0), ("0.5 px", 4.0), ("2 px", 50.0)],
    "dropped": [("1 class", 2.0), ("2 classes", 2.01), ("3 classes", 2.02), ("4 classes", 9.0)],
}


def drawn(fig) -> dict[float, list[float]]:
    """Height of a track -> the values of its markers."""
    lines = [line for line in fig.axes[0].lines if line.get_marker() in ("o", "D")]
    return {line.get_ydata()[0]: list(line.get_xdata()) for line in lines}


def words(fig) -> list[str]:
    return [text.get_text() for text in fig.axes[0].texts]


def test_every_rung_is_on_its_track_and_models_stand_across() -> None:
    fig = ladder(
        TRACKS,
        models={"vae": (3.0, (2.5, 3.5)), "gan": (7.0, None)},
        baselines={"training mean": 90.0},
        floor=(0.9, (0.8, 1.0)),
    )
    (axes,) = fig.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["blur", "dropped", "baselines"]
    assert drawn(fig) == {2: [1.0, 4.0, 50.0], 1: [2.0, 2.01, 2.02, 9.0], 0: [90.0]}
    legend = [t.get_text() for t in axes.get_legend().get_texts()]
    assert legend == ["floor  0.90", "vae  3.00", "gan  7"]
    low, high = axes.get_xlim()
    assert low < 0.9 and high > 90.0 and axes.get_xscale() == "log"
    assert png(fig)[:4] == b"\x89PNG"


def test_words_that_would_cover_each_other_are_left_out_but_never_those_of_the_ends() -> None:
    shown = words(ladder(TRACKS))
    assert {"0.25 px", "0.5 px", "2 px", "1 class", "4 classes"} <= set(shown)
    assert "3 classes" not in shown, "there is room for two of the three, above and below"


@pytest.mark.parametrize(
    ("values", "better", "scale"),
    [
        ([1.0, 20.0], "lower", "log"),
        ([1.0, 9.0], "lower", "linear"),
        ([-1e-5, 1.0], "lower", "symlog"),
        ([-1.0, 1.0], "lower", "linear"),
        ([0.01, 1.0], "higher", "linear"),
        ([2.0, 2.0], "lower", "linear"),
    ],
)
def test_the_axis_fits_the_values(values: list[float], better: str, scale: str) -> None:
    fig = ladder({"blur": [(str(i), v) for i, v in enumerate(values)]}, better=better)  # type: ignore[arg-type]
    (axes,) = fig.axes
    assert axes.get_xscale() == scale
    assert axes.get_xlim()[0] < min(values) and axes.get_xlim()[1] > max(values)
    assert f"({better} is better)" in axes.get_xlabel()


@pytest.mark.parametrize("least", [0.01, -0.01])
def test_ticks_are_numbers_and_no_formulas(least: float) -> None:
    fig = ladder({"blur": [("a", least), ("b", 100.0)]})
    png(fig)
    said = [label.get_text() for label in fig.axes[0].get_xticklabels(which="both")]
    assert any(said) and not any("$" in text for text in said)


def test_the_better_side_of_the_floor_is_shaded() -> None:
    for better, inside in (("lower", 0.3), ("higher", 0.7)):
        fig = ladder({"blur": [("a", 0.2), ("b", 0.8)]}, floor=(0.5, None), better=better)  # type: ignore[arg-type]
        (shade,) = fig.axes[0].patches
        left, right = shade.get_x(), shade.get_x() + shade.get_width()
        assert left < inside < right and 0.5 in (pytest.approx(left), pytest.approx(right))


def test_the_same_ladder_gives_the_same_bytes() -> None:
    assert png(ladder(TRACKS)) == png(ladder(TRACKS))


@pytest.mark.parametrize("empty", [{}, {"blur": []}])
def test_nothing_to_draw_is_an_error(empty: dict) -> None:
    with pytest.raises(DataError, match="no rungs"):
        ladder(empty)
    with pytest.raises(DataError, match="no pictures"):
        ladder_pictures(empty)


def test_the_sheet_holds_every_picture_in_its_row_and_column() -> None:
    """Flat pictures, each of its own gray, so that a tile can be recognized."""

    def flat(*grays: int) -> np.ndarray:
        return np.array(grays, np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 1, 8, 8), np.uint8)

    rows = {
        "blur": [("real", flat(10, 20)), ("1 px", flat(30, 40)), ("2 px", flat(50, 60))],
        "JPEG": [("5", flat(70, 80))],
    }
    sheet = np.asarray(ladder_pictures(rows, scale=2))
    gray = (sheet[..., 0] == sheet[..., 1]) & (sheet[..., 1] == sheet[..., 2])

    def middle(value: int) -> tuple[float, float]:
        y, x = np.nonzero(gray & (sheet[..., 0] == value))
        keep = [(a, b) for a, b in zip(y, x, strict=True) if (sheet[a - 3 : a + 4, b - 3 : b + 4] == value).all()]
        return tuple(np.mean(keep, axis=0).tolist())  # type: ignore[return-value]

    at = {v: middle(v) for v in range(10, 90, 10)}
    for pair in ((10, 20), (30, 40), (50, 60), (70, 80)):
        assert at[pair[0]][1] == at[pair[1]][1] and at[pair[0]][0] < at[pair[1]][0], "a column the same strength"
    assert at[10][0] == at[30][0] == at[50][0] and at[10][1] < at[30][1] < at[50][1], "a row the same picture"
    assert at[70][1] == at[10][1] and at[70][0] > at[60][0], "blocks start at the same margin, one below the other"
