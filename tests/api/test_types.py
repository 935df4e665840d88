"""What a type checker tells a user: the whole public API is typed."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import morphogen as mg

SCRIPT = Path(__file__).with_name("strict_user_script.py")
SOURCE = Path(mg.__file__).parents[1]


def check(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """`mypy --strict` as a user runs it: with no configuration, and silent about the library itself."""
    options = ["--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={folder / 'cache'}"]
    command = [sys.executable, "-m", "mypy", *options, str(script)]
    environment = {**os.environ, "MYPYPATH": str(SOURCE)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_script_names_the_whole_api() -> None:
    """A function of a model counts as named where it is called as a method."""
    named = {node.attr for node in ast.walk(ast.parse(SCRIPT.read_text())) if isinstance(node, ast.Attribute)}
    assert set(mg.__all__) - named == set()


def test_a_strict_script_of_the_whole_api_passes(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import morphogen as mg\n\nmg.load('runs/first').sample('many')\nmg.train('vae', latent='8')\n")
    done = check(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stdout
    found = check(wrong, tmp_path)
    assert found.returncode == 1, found.stdout
    assert "arg-type" in found.stdout and "call-arg" in found.stdout, "the checker sees no types at all"
