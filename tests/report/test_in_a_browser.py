"""A report as a browser shows it: pictures decoded and on the screen, nothing wider than the window, no complaints.

Needs a Chromium of any name on the path, or its own path in MORPHOGEN_BROWSER; skipped where there is none.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from morphogen.report.animations import animation
from morphogen.report.curves import curves
from morphogen.report.html import Report
from morphogen.report.sheets import sheet

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell", "chromium-headless-shell")
COLOR = (12, 200, 34)  # of a picture, and of nothing else on the page
LOOK = """<script>addEventListener("load", () => {
  const root = document.documentElement, out = document.createElement("pre");
  out.textContent = JSON.stringify({
    window: root.clientWidth,
    page: root.scrollWidth,
    asked: performance.getEntriesByType("resource").map(e => e.name).filter(name => !name.startsWith("data:")),
    pictures: [...document.images].map(i => ({decoded: i.naturalWidth, right: i.getBoundingClientRect().right})),
    clipped: [...document.querySelectorAll("main *")].filter(e => e.scrollWidth > e.clientWidth + 1 &&
      getComputedStyle(e).overflowX === "hidden").length,
  });
  out.id = "seen";
  document.body.append(out);
});</script>"""


@dataclass(frozen=True)
class Shown:
    """What a browser makes of a page: what a script in it sees, what is on the screen, what the console says."""

    page: dict[str, Any]
    screen: Image.Image
    console: list[str]


Show = Callable[..., Shown]


@pytest.fixture
def show(tmp_path: Path) -> Show:
    """Opens a page in a window of that width."""
    browser = os.environ.get("MORPHOGEN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip(f"no browser: put one of {', '.join(NAMES)} on the path, or its path into MORPHOGEN_BROWSER")

    def opened(html: str, width: int) -> Shown:
        plain, looking, screen = tmp_path / "page.html", tmp_path / "looking.html", tmp_path / "screen.png"
        plain.write_text(html, encoding="utf-8")
        looking.write_text(html.replace("</body>", f"{LOOK}</body>"), encoding="utf-8")
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
        flags += [
            f"--window-size={width},2400",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=1000",
        ]
        flags += ["--no-first-run", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"]

        def run(flag: str, page: Path) -> subprocess.CompletedProcess[str]:
            command = [browser, *flags, flag, page.as_uri()]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

        dom = run("--dump-dom", looking).stdout
        seen = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
        assert seen, f"the page did not load: {dom[-500:]!r}"
        said = run(f"--screenshot={screen}", plain).stderr
        console = [line for line in said.splitlines() if "CONSOLE" in line]
        return Shown(json.loads(unescape(seen[1])), Image.open(screen).convert("RGB"), console)

    return opened


def problems(shown: Shown) -> list[str]:
    """What a person would find wrong."""
    page, found = shown.page, [*shown.console, *(f"the page asks for {name}" for name in shown.page["asked"])]
    if page["page"] > page["window"]:
        found.append(f"the page is {page['page']} px wide in a window of {page['window']}")
    for i, picture in enumerate(page["pictures"]):
        if picture["decoded"] == 0:
            found.append(f"picture {i} is broken")
        if picture["right"] > page["window"]:
            found.append(f"picture {i} sticks out")
    if page["clipped"]:
        found.append(f"{page['clipped']} elements hide what does not fit")
    return found


def pixels_of(screen: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(screen) == color).all(-1).sum())


def report() -> Report:
    x = np.random.default_rng(0).integers(0, 256, (64, 1, 28, 28), dtype=np.uint8)
    page = Report("A model of digits", "Trained for a minute.\n\nIts samples, its `curve` and its numbers.")
    page.headline("1.23 nats", "test loss", "1.20 to 1.26, n = 360").headline("97 %", "drawn as told")
    page.section("Samples", "Drawn from the prior.").figure(Image.new("RGB", (120, 80), COLOR), "one color")
    page.figure(sheet(x, columns=32), "a sheet that is wider than a telephone")
    steps = list(range(100))
    moving = animation([sheet(x[:16]), sheet(255 - x[:16])])
    page.figures([(curves({"loss": (steps, [1 / (1 + s) for s in steps])}), "curve"), (moving, "animation")])
    columns = [f"a column of figures {i}" for i in range(12)]
    page.section("Numbers").table(columns, [[1234567.25] * 12] * 3, caption="wider than the page")
    return page.code("morphogen sample model --out pictures.png  " + "--and-a-very-long-option " * 8)


@pytest.mark.parametrize("width", [1200, 400])
def test_a_report_looks_right(show: Show, width: int) -> None:
    """On a desk and on a telephone."""
    shown = show(report().html(), width)
    assert problems(shown) == []
    assert len(shown.page["pictures"]) == 4
    assert pixels_of(shown.screen, COLOR) >= 0.98 * 120 * 80, "the picture is not on the screen as it was put there"
    assert len(shown.screen.getcolors(1 << 24) or ()) > 50, "the screen is as good as blank"


def test_a_page_that_is_broken_is_found_out(show: Show) -> None:
    html = re.sub(r"(data:image/png;base64,).{40}", r"\1" + "A" * 40, report().html(), count=1)
    html = html.replace("<main>", "<main><script>throw 'oh no'</script>")
    html = html.replace("</main>", '<div style="width: 1500px">.</div><img src="https://example.org/a.png"></main>')
    said, asked, wide, first, last = problems(show(html, 1200))
    assert "oh no" in said and asked == "the page asks for https://example.org/a.png"
    assert re.fullmatch(r"the page is 1[56]\d\d px wide in a window of 1200", wide)
    assert (first, last) == ("picture 0 is broken", "picture 4 is broken")
