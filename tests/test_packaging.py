"""What is declared in several places agrees."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import morphogen

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = {
    re.split(r"[<>=\[]", text)[0]
    for text in [*PROJECT["dependencies"], *(t for ts in PROJECT["optional-dependencies"].values() for t in ts)]
}


def test_every_dependency_is_pinned_and_explained() -> None:
    pinned = set(re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    explained = set(re.findall(r"^\| \[([\w-]+)\]", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE))
    assert pinned == DEPENDENCIES
    assert explained == DEPENDENCIES


def test_the_version_has_one_source() -> None:
    assert morphogen.__version__ == version("morphogen") == PROJECT["version"]


def test_ci_is_executable_and_every_make_target_is_announced() -> None:
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {"quickstart", "test", "test-slow", "lint", "bench", "clean"} <= targets
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony and set(phony[1].split()) == targets
    assert targets == set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
