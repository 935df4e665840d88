"""Integer forms give the coder the same bits under other kernels, threads, batches and with oneDNN off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import morphogen as mg

ROOT = Path(__file__).parents[2]
KERNELS = ("default", "avx512" if torch.backends.cpu.get_cpu_capability() == "AVX512" else "avx2", "avx2")
EVERY = ("--threads", "1", "2", "--batch", "1", "7", "--onednn", "on", "off")


def hashes(model, pictures, kernels, settings):
    command = [sys.executable, "-m", "benchmarks.peers.frequencies", str(model), str(pictures), *settings]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": kernels, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kernels", [KERNELS[:2], pytest.param(KERNELS, marks=pytest.mark.slow)], ids=["few", "all"])
def test_the_coder_reads_the_same_bits(toy, tmp_path, kernels):
    _the_same(toy("pixels"), tmp_path, kernels)


@pytest.mark.parametrize("kernels", [KERNELS[:2], pytest.param(KERNELS, marks=pytest.mark.slow)], ids=["few", "all"])
@pytest.mark.slow
def test_codes_with_a_loss_and_their_pictures_are_the_same_bits(toy, tmp_path, kernels):
    _the_same(toy("lossy"), tmp_path, kernels)


def _the_same(model, tmp_path, kernels):
    mg.quantize(model, tmp_path / "integers", "digits", n=2)
    np.save(tmp_path / "pictures.npy", mg.load_data("digits").test.stored[:8].numpy())
    rows = [row for k in kernels for row in hashes(tmp_path / "integers", tmp_path / "pictures.npy", k, EVERY)]
    assert len(rows) == 8 * len(kernels)
    assert len({row["frequencies"] for row in rows}) == len({row["code"] for row in rows}) == 1
