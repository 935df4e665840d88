"""Integer forms give the coder the same bits under other kernels, threads, batches and with oneDNN off."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import morphogen as mg

ROOT = Path(__file__).parents[2]
KERNELS = ("default", "avx2", "avx512")  # a processor without one of them takes the next smaller
SETTINGS = list(itertools.product(KERNELS, (1, 2), (1, 7), ("on", "off")))
FEW = [("default", 2, 7, "off"), ("avx512", 1, 1, "on")]


def hashes(model, pictures, kernels, threads, batch, onednn):
    command = [sys.executable, "-m", "benchmarks.peers.frequencies", str(model), str(pictures)]
    command += ["--threads", str(threads), "--batch", str(batch), "--onednn", onednn]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": kernels, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found["frequencies"], found["code"]


@pytest.mark.parametrize("settings", [FEW, pytest.param(SETTINGS, marks=pytest.mark.slow)], ids=["few", "all"])
def test_the_coder_reads_the_same_bits(toy, tmp_path, settings):
    mg.quantize(toy("pixels"), tmp_path / "integers", "digits", n=2)
    np.save(tmp_path / "pictures.npy", mg.load_data("digits").test.stored[:16].numpy())
    found = {hashes(tmp_path / "integers", tmp_path / "pictures.npy", *setting) for setting in settings}
    assert len(found) == 1
