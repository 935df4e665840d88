"""Damaged models, command lines and strange data, at random: none runs code, hangs, or ends in a traceback.

Each fuzzer runs in a process of its own (fuzz_run.py). MORPHOGEN_FUZZ sets the number of items of each,
MORPHOGEN_FUZZ_SEED the seed; a failure prints the command that makes the item again.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FEW = {"artifacts": 40, "commands": 40, "files": 40}
MANY = {"artifacts": 10_000, "commands": 10_000, "files": 2_000}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and forks as Linux has them")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good models, trained for three steps each."""
    root = tmp_path_factory.mktemp("models")
    _run([str(HERE / "fuzz_models.py"), str(root)])
    return root


@pytest.mark.parametrize("fuzzer", FEW)
def test_nothing_strange_does_harm(fuzzer: str, models: Path, tmp_path: Path) -> None:
    """A few items, new ones each time."""
    _fuzz(fuzzer, FEW[fuzzer], models, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(10_800)
@pytest.mark.parametrize("fuzzer", MANY)
def test_nothing_strange_does_harm_in_many_tries(fuzzer: str, models: Path, tmp_path: Path) -> None:
    _fuzz(fuzzer, MANY[fuzzer], models, tmp_path)


def _fuzz(fuzzer: str, number: int, models: Path, scratch: Path) -> None:
    number = int(os.environ.get("MORPHOGEN_FUZZ", number))
    seed = os.environ.get("MORPHOGEN_FUZZ_SEED", str(random.SystemRandom().randrange(10**6)))
    report = scratch / "report.json"
    line = [fuzzer, "--number", str(number), "--seed", seed, "--models", str(models), "--scratch", str(scratch)]
    said = _run([str(HERE / "fuzz_run.py"), *line, "--report", str(report)], may_find=True)
    assert report.exists(), said
    found = json.loads(report.read_text())
    assert not found["items"], f"seed {seed}; what was made lies in {scratch / 'findings'}\n{said}"
    assert len(found["statuses"]) > 1, "all ended alike: the fuzzer has lost its way"


def _run(arguments: list[str], may_find: bool = False) -> str:
    ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, errors="replace", check=False)
    assert ended.returncode in ((0, 1) if may_find else (0,)), ended.stdout[-5000:] + ended.stderr[-5000:]
    return ended.stdout[-20_000:] + ended.stderr[-5000:]
