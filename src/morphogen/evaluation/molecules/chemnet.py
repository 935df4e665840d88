"""ChemNet's features of molecules (Preuer et al., 2018), by the package fcd_torch, which carries the network.

The network was trained to predict bioactivities from SMILES. Its 512 features are compared by the Frechet distance
(`evaluation/metrics/frechet.py`), which gives the "FCD" of the literature without its bias, and an interval.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from morphogen.core.chunks import chunks
from morphogen.core.errors import UsageError

DIMENSIONS = 512
_BATCH = 256


@lru_cache(maxsize=1)
def _network() -> tuple[Any, Any, str]:
    try:
        package: Any = importlib.import_module("fcd_torch.fcd")
        utils: Any = importlib.import_module("fcd_torch.utils")
    except ImportError:
        raise UsageError("FCD needs fcd_torch: install it with `pip install 'morphogen[fcd]'`.") from None
    weights = Path(package.__file__).parent / "ChemNet_v0.13_pretrained.pt"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()[:8]
    return package.FCD(n_jobs=1).model, utils.SmilesDataset, f"ChemNet-{digest}"


def name() -> str:
    """The network's name, with the start of the hash of its weights."""
    return _network()[2]


@torch.no_grad()
def features(smiles: Sequence[str]) -> Tensor:
    """The features (N, 512) of molecules."""
    model, dataset, _ = _network()
    read, found = dataset(list(smiles), canonize=True), []
    for rows in chunks(len(smiles), _BATCH):
        x = torch.stack([torch.as_tensor(read[i]) for i in range(rows.start, rows.stop)])
        found.append(model(x.transpose(1, 2).float()).double())
    return torch.cat(found) if found else torch.zeros(0, DIMENSIONS, dtype=torch.float64)
