"""The options of `mg.train` by name and type are those that the families have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = "from tools.training_options import FILE, source; raise SystemExit(FILE.read_text() != source())"


def test_the_file_of_options_is_that_of_the_families() -> None:
    """In a process of its own, as tests register families."""
    done = subprocess.run([sys.executable, "-c", CODE], cwd=Path(__file__).parents[2])
    assert done.returncode == 0, "run python -m tools.training_options"
