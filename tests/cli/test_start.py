"""Help and wrong usage answer at once: no heavy import comes before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from morphogen import ArtifactError
from morphogen.cli.models import require_folder

HEAVY = ("torch", "numpy", "matplotlib", "PIL", "sklearn")
PROBE = """
import sys
from morphogen.cli.main import run
status = run(sys.argv[1:])
print("HEAVY", [m for m in {heavy!r} if m in sys.modules])
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["train", "--help"], 0),
        (["data", "inspect", "--help"], 0),
        (["smaple"], 2),
        (["sample", "model"], 2),
        (["sample", "model", "--out", "a.bmp"], 2),
        (["sample", "model", "--out", "a.png", "--n", "zero"], 2),
        (["sample", "model", "--out", "a.png", "--steps", "10000000"], 2),
        (["sample", "nowhere", "--out", "a.png"], 1),
        (["sample", "model", "--out", "a.png", "--guidence", "2"], 2),
        (["evaluate", "nowhere", "--data", "digits"], 1),
        (["draw", "nowhere", "a cat", "--out", "a.png"], 1),
        (["edit", "nowhere", "a.png", "--out", "b.png"], 1),
        (["show", "nowhere"], 1),
        (["verify", "nowhere"], 1),
        (["train", "vae", "--data", "digits"], 2),
        (["--show-completion", "--help"], 0),
        (["train", "vae", "--data", "digits", "--out", "runs/x", "--steps", "5", "--epochs", "1"], 2),
    ],
)
def test_nothing_heavy_is_imported(arguments: list[str], status: int) -> None:
    command = [sys.executable, "-c", PROBE.format(heavy=HEAVY), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert done.stdout.endswith("HEAVY []\n")
    assert "Traceback" not in done.stderr


def test_it_runs_as_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "morphogen.cli", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("morphogen ")


def test_a_model_whose_writer_was_killed_is_not_said_to_be_missing(tmp_path: Path) -> None:
    for name in ("m", "a\0b", "x" * 5000):
        with pytest.raises(ArtifactError, match="no such model directory"):
            require_folder(tmp_path / name)
    (tmp_path / ".m.morphogen-1-0123456789abcdef").mkdir()
    require_folder(tmp_path / "m")
