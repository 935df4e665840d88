"""Sliders: one sprite behind a window, and the page's only script."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from morphogen.core.errors import DataError
from morphogen.report.html import Card, Report
from morphogen.report.sliders import slider

COLORS = [[(10, 0, 0), (20, 0, 0), (30, 0, 0)], [(0, 10, 0), (0, 20, 0), (0, 30, 0)]]
FRAMES = [[Image.new("RGB", (4, 6), color) for color in row] for row in COLORS]


def sprite(markup: str) -> np.ndarray:
    data = re.search(r"base64,([^)]+)\)", markup)
    assert data
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))).convert("RGB"))


def test_the_sprite_holds_every_frame_at_its_place() -> None:
    markup = slider(FRAMES, "a plane", names=["x", "y"], begin=(1, 2))
    found = sprite(markup)
    assert found.shape == (12, 12, 3)
    assert all(tuple(found[6 * y + 3, 4 * x + 2]) == COLORS[y][x] for y in range(2) for x in range(3))
    assert "background-position:100% 100%" in markup and "background-size:300% 200%" in markup
    assert re.findall(r'max="(\d+)" value="(\d+)"', markup) == [("2", "2"), ("1", "1")]


def test_labels_are_said_for_each_column_and_escaped() -> None:
    markup = slider(FRAMES[:1], "<b>", names=["t"], labels=["<1>", "2", "3"])
    said = re.search(r'data-labels="([^"]+)"', markup)
    assert said and "<" not in said[1]
    assert json.loads(said[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">")) == ["<1>", "2", "3"]
    assert "<b>" not in markup


def test_only_a_page_with_sliders_has_a_script() -> None:
    plain = Report("a").section("one")
    assert "<script" not in plain.html()
    page = plain.element(slider(FRAMES[:1], "c", names=["t"])).html()
    assert page.count("<script>") == 1 and "src=" not in page.split("<script>")[1]


@pytest.mark.parametrize("frames", [[], [[]], [FRAMES[0], FRAMES[0][:2]], [[FRAMES[0][0], Image.new("RGB", (5, 5))]]])
def test_frames_that_make_no_grid_are_refused(frames: list[list[Image.Image]]) -> None:
    with pytest.raises(DataError, match="frames of one size"):
        slider(frames, "c", names=["t"])


def test_every_slider_has_a_name_and_a_label_for_each_column() -> None:
    with pytest.raises(DataError, match="2 named sliders"):
        slider(FRAMES, "c", names=["only one"])
    with pytest.raises(DataError, match="3 labels"):
        slider(FRAMES[:1], "c", names=["t"], labels=["a"])


def test_cards_lead_to_sections_and_folded_parts_close() -> None:
    report = Report("a").cards([Card(FRAMES[0][0], "A & B", "it draws", "Numbers: all")]).section("Numbers: all")
    with report.folded("more"):
        report.text("inside")
    page = report.append(Report("b").section("Next").links({"guide": "../docs/x.md"})).html()
    assert 'href="#numbers-all"' in page and 'id="numbers-all"' in page
    assert re.search(r"<details>\s*<summary>more</summary>\s*<p>inside</p>\s*</details>", page)
    assert page.count("<section") == page.count("</section>") == 2
