"""The site of the documents builds strictly, configured as for `make docs`, and loads nothing from elsewhere.

Skipped where the extra `docs` is not installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs the extra docs")
pytest.importorskip("latex2mathml", reason="the site needs the extra docs")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")]
    outside = [Path("contributing.md"), Path("results/figures.md"), Path("results/commands.md")]
    assert [page for page in [*pages, *outside] if not (site / page.with_suffix(".html")).exists()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="(https?:[^"]+)', text)
        loaded += re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(https?:[^"]+)', text)
        assert loaded == [], page.name


def test_formulas_are_drawn_by_the_browser(site: Path) -> None:
    page = (site / "vae.html").read_text(encoding="utf-8")
    assert page.count("<math") > 10
    assert "arithmatex" not in page
    assert "\\frac" not in page


def test_the_reference_has_signatures(site: Path) -> None:
    page = (site / "api" / "sampling.html").read_text(encoding="utf-8")
    assert 'id="morphogen.sample"' in page
    assert "seed" in page
