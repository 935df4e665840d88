"""Vectors and pictures of noise, by seed."""

from __future__ import annotations

import torch

from morphogen.core.data_spec import DataSpec
from morphogen.core.rng import Rng
from morphogen.data import Records

VECTORS = DataSpec(name="x", shape=(3,), kind="continuous")
PICTURES = DataSpec(name="p", shape=(1, 8, 8), kind="continuous", levels=256)


def vectors(seed: int, n: int, dim: int = 3) -> torch.Tensor:
    return Rng(seed).normal("v", n, (dim,), dtype=torch.float64)


def pictures(seed: int, n: int, channels: int = 1, side: int = 8) -> torch.Tensor:
    return Rng(seed).integers("p", n, 256, (channels, side, side)).to(torch.uint8)


def records(stored: torch.Tensor, spec: DataSpec) -> Records:
    return Records(spec.replace(shape=tuple(stored.shape[1:])), stored, torch.arange(len(stored)))
