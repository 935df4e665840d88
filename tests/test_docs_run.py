"""Documents are programs: every Python block and every line of a `bash` block runs, small, in an empty folder.

Python blocks of a page share one namespace, as a reader would have it; a block whose first line is `# NAME.py` is a
file that later blocks import. The lines of the bash blocks of a page run as one session, in one process. Longer ones
stand in `sh` blocks, which `tests/test_docs.py` parses. Chapters whose commands train and judge pictures for long are
marked slow; those of the first steps, of tables and of safeguards are not.
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
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SMALL = [
    (r"--(?:budget|epochs|steps) \S+", "--steps 3"),
    (r"\b(?:steps|budget|epochs)=[\w\"]+(?=[,)])", "steps=3"),
    (r'"steps": \d+', '"steps": 3'),
    (r"^morphogen (?:evaluate|evaluate-samples|alignment) .*", r"\g<0> --n 32"),
    (r"^morphogen restore .*", r"\g<0> --n 2"),
]
LONG = ("restoration", "text-to-image", "evaluation", "gan", "compression", "deep-vaes", "diffusion")
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


def pages(having: list[Path]) -> pytest.MarkDecorator:
    found = []
    for page in having:
        marks = pytest.mark.slow if page.stem in LONG else ()
        found.append(pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks))
    return pytest.mark.parametrize("page", found)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder but for `photos`, pictures of a reader's own, and `captioned`, others with captions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    rng = np.random.default_rng(0)
    for name in ("photos", "captioned"):
        (tmp_path / name).mkdir()
        for i in range(160):
            pixels = rng.integers(0, 256, (36, 34 + i % 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i:03}.png")
    things = [f"a {('red', 'blue', 'green')[i % 3]} {('kite', 'boat')[i % 2]} over the sea" for i in range(160)]
    lines = ["file_name,text", *(f"{i:03}.png,{thing}" for i, thing in enumerate(things))]
    (tmp_path / "captioned" / "metadata.csv").write_text("\n".join(lines))
    return tmp_path


@pages([p for p in PAGES if commands(p)])
def test_commands_run(page: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for line in map(small, commands(page)):
        if "MORPHOGEN_DATA" not in os.environ and any(name in line for name in NAMED_SETS):
            continue
        assert run(shlex.split(line, comments=True)[1:]) == 0, f"{line}\n{capfd.readouterr().err}"
        if "--out" in line:
            assert Path(shlex.split(line)[shlex.split(line).index("--out") + 1]).exists()


@pages([p for p in PAGES if blocks(p, "python")])
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
