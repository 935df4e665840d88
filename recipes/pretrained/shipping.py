"""Write a trained model as it is shipped: the averaged weights as 16-bit numbers, without its log and sample sheets."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from morphogen import artifact
from morphogen.artifact.store import own_state


def ship(model: Path, out: Path) -> int:
    """Write the model directory `model` to `out`; the bytes of all files."""
    found = artifact.load(model)
    halves = {
        name: value.to(torch.float16) if value.is_floating_point() else value
        for name, value in own_state(found.family).items()
    }
    if out.exists():
        shutil.rmtree(out)
    artifact.save(out, found.family, recipe=found.spec["recipe"], provenance=found.provenance, state=halves)
    return sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
