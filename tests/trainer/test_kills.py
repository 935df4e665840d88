"""A few trainings that are killed at random moments; `python -m benchmarks.trust.kills` makes hundreds."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from pathlib import Path
from benchmarks.trust.kills import measure
rows = measure(int(sys.argv[2]), 40, Path(sys.argv[1]), say=lambda text: None)
assert sum(row.kills for row in rows) >= int(sys.argv[2])
assert all(row.equal == row.trainings for row in rows), rows
assert not any(row.models_lost for row in rows), rows
"""


@pytest.mark.slow
def test_killed_trainings_end_as_uninterrupted_ones_bit_for_bit(tmp_path):
    """In a process of its own, since it forks: a process that has run several threads cannot be forked safely."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path), "8"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
