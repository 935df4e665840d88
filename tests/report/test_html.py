"""Reports: well-formed, self-contained, escaped, and written whole or not at all."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphogen.core.errors import DataError
from morphogen.report.animations import animation
from morphogen.report.curves import curves
from morphogen.report.html import Report
from morphogen.report.sheets import sheet

VOID = {"meta", "img", "br", "hr", "link"}


class Outline(HTMLParser):
    """Checks nesting while reading; keeps tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def full_report() -> Report:
    x = np.arange(4 * 64, dtype=np.uint8).reshape(4, 1, 8, 8)
    report = Report("Title <script>alert(1)</script>", "First & foremost.\n\nSecond.")
    report.headline("1.23 nats", "loss", "n = 4")
    report.section("Pictures", "See `a < b`.\n\nAnd more.")
    report.figure(sheet(x), 'a sheet "quoted"')
    report.figures(
        [(curves({"a": ([0, 1], [2.0, 3.0])}), "curve"), (animation([sheet(x), sheet(255 - x)]), "animation")]
    )
    report.section("Numbers").table(["what", "value"], [["a<b", 1.5], ["c", 60000]], caption="cap")
    return report.code("morphogen show model && echo '<done>'")


def test_the_page_is_well_formed_and_escaped() -> None:
    outline = Outline(full_report().html())
    tags = [tag for tag, _ in outline.elements]
    assert "script" not in tags
    assert tags.count("section") == 2 and tags.count("h1") == 1 and tags.count("p") == 4
    for words in ("<script>alert(1)</script>", "First & foremost.", "a < b", "a<b", "60,000", "echo '<done>'", "n = 4"):
        assert words in outline.text
    assert all(attributes["alt"] for tag, attributes in outline.elements if tag == "img")


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = full_report().html()
    outline = Outline(page)
    assert not {tag for tag, _ in outline.elements} & {"script", "link", "iframe", "object"}
    assert all(a["src"].startswith("data:image/") for t, a in outline.elements if t == "img" and a["src"])
    assert not re.search(r"https?://|@import|url\(", page)


def test_pictures_come_back_pixel_for_pixel() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    image = sheet(x)
    page = Report("t").figure(image, "c").html()
    encoded = re.search(r'src="data:image/png;base64,([^"]+)" width="(\d+)" height="(\d+)"', page)
    assert encoded is not None
    assert (int(encoded[2]), int(encoded[3])) == image.size
    back = Image.open(io.BytesIO(base64.b64decode(encoded[1])))
    assert back.convert("RGB").tobytes() == image.tobytes()


def test_columns_of_numbers_are_aligned_right_and_ragged_rows_refused() -> None:
    page = Report("t").table(["name", "value"], [["a", 1.25], ["b", None]]).html()
    assert '<th scope="col" class="number">value</th>' in page and '<th scope="col">name</th>' in page
    with pytest.raises(DataError, match="2 columns"):
        Report("t").table(["a", "b"], [["only one"]])


def test_write_replaces_the_whole_file_or_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "report.html"
    assert full_report().write(target) == target
    before = target.read_bytes()
    broken = full_report()
    monkeypatch.setattr(broken, "html", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        broken.write(target)
    assert target.read_bytes() == before
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]


def test_bytes_that_are_no_picture_are_refused() -> None:
    with pytest.raises(DataError, match="PNG and GIF"):
        Report("t").figure(b"plain text", "c")
