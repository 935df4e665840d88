"""Docs are programs: every snippet of the README and of CONTRIBUTING runs, at a small size, in an empty folder.

Python blocks of a page share one namespace, as a reader would have it; a block whose first line is
`# NAME.py` is a file that later blocks import. Lines of bash blocks that begin with `morphogen` run as
one session.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from morphogen.cli.main import run
from morphogen.core import registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = [
    (r"--(?:budget|epochs|steps) \S+", "--steps 3"),
    (r'"steps": \d+', '"steps": 3'),
    (r"^morphogen evaluate .*", r"\g<0> --n 32 --samples 20"),
]
NAMED_SETS = ("mnist", "emoji", "bccd", "ucmerced", "kodak", "deeppcb")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("morphogen ")]


def small(text: str) -> str:
    for pattern, replacement in SMALL:
        text = re.sub(pattern, replacement, text)
    return text


def named(pages: list[Path]) -> list[object]:
    return [pytest.param(page, id=page.name) for page in pages]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder but for `photos`, pictures of a reader's own, and `captioned`, others with captions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(160):
        pixels = rng.integers(0, 256, (40, 40 + i % 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i:03}.png")
    (tmp_path / "captioned").mkdir()
    lines = ["file_name,text"]
    for i in range(160):
        pixels = rng.integers(0, 256, (36, 34, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "captioned" / f"{i:03}.png")
        lines.append(f"{i:03}.png,a {('red', 'blue', 'green')[i % 3]} {('kite', 'boat')[i % 2]} over the sea")
    (tmp_path / "captioned" / "metadata.csv").write_text("\n".join(lines))
    return tmp_path


@pytest.mark.parametrize("page", named([p for p in PAGES if commands(p)]))
def test_commands_run(page: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for line in map(small, commands(page)):
        if "MORPHOGEN_DATA" not in os.environ and any(name in line for name in NAMED_SETS):
            continue
        assert run(shlex.split(line, comments=True)[1:]) == 0, f"{line}\n{capfd.readouterr().err}"
        if "--out" in line:
            assert Path(shlex.split(line)[shlex.split(line).index("--out") + 1]).exists()


@pytest.mark.parametrize("page", named([p for p in PAGES if blocks(p, "python")]))
def test_python_runs(page: Path, folder: Path) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    before = set(sys.modules)
    for block in map(small, blocks(page, "python")):
        file = re.match(r"# (\w+\.py)\n", block)
        if file:
            (folder / file[1]).write_text(block, encoding="utf-8")
        else:
            exec(compile(block, page.name, "exec"), namespace)
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_every_verb_is_in_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    verbs = re.findall(r"^│ (\w+) ", capsys.readouterr().out, re.MULTILINE)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "train" in verbs
    assert [verb for verb in verbs if f"`{verb}" not in text] == []


def test_links_inside_the_docs_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
