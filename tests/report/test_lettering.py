"""Labels: what a font draws is drawn, and nothing becomes a box or breaks a picture."""

from __future__ import annotations

import numpy as np
import pytest

from morphogen.report.ladder_plot import ladder
from morphogen.report.lettering import LONGEST, drawable, lettered
from morphogen.report.points import scatter
from morphogen.report.sheets import sheet

STRANGE = [
    "中文",
    "שלום",
    "مرحبا",
    "e\u0301",
    "\u200b",
    "\x1b[31m",
    "\udce9",
    "\U0001f600",
    "किताब",
    "a\nb",
    "$a_{$",
    "",
]


@pytest.mark.parametrize("text", ["a cat", "Größe", "Привет", "Ελλάδα"])
def test_alphabets_are_drawn_as_they_are(text: str) -> None:
    assert lettered(text)[0] == drawable(text) == text


@pytest.mark.parametrize("text", ["中文", "שלום", "\U0001f98a", "\udce9", "\x1b[31m"])
def test_what_no_font_draws_is_written_as_its_escape(text: str) -> None:
    drawn, font = lettered(text)
    assert drawn.isascii() and drawn.startswith("\\") and font.getlength(drawn) > 0


def test_no_label_is_longer_than_the_longest() -> None:
    assert len(lettered("x" * 10_000)[0]) == LONGEST and lettered("x" * 10_000)[0].endswith("...")


@pytest.mark.parametrize("text", STRANGE)
@pytest.mark.filterwarnings("error")
def test_any_name_labels_a_sheet_and_a_plot(text: str) -> None:
    x = np.zeros((2, 1, 8, 8), np.uint8)
    assert sheet(x, columns=1, row_labels=[text, "b"], column_labels=[text]).height > 0
    scatter(np.eye(2), labels=[0, 1], classes=(text, "b")).draw_without_rendering()
    ladder({text: [("1 px", 1.0), ("2 px", 2.0)]}, models={text: (1.5, None)}).draw_without_rendering()
