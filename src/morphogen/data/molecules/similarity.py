"""Similarity of molecules: Tanimoto's coefficient of Morgan fingerprints (radius 2, 1,024 bits)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from morphogen.core.chunks import chunks
from morphogen.core.errors import DataError
from morphogen.data.molecules.chemistry import rdkit
from morphogen.data.molecules.standard_form import molecule_of

RADIUS, BITS = 2, 1024
_ROWS = 1024


@lru_cache(maxsize=1)
def _generator() -> Any:
    return rdkit("Chem.rdFingerprintGenerator").GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """Fingerprints (N, 1024) in {0, 1}, float32. Raises `DataError` for a text that is no molecule."""
    out = np.zeros((len(smiles), BITS), np.float32)
    for row, text in enumerate(smiles):
        molecule = molecule_of(text)
        if molecule is None:
            raise DataError(f"{text!r} is no molecule: only molecules have fingerprints.")
        out[row] = _generator().GetFingerprintAsNumPy(molecule)
    return out


def tanimoto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a and b| / |a or b| of all pairs of fingerprints (N, D) and (M, D): (N, M); 1 for two without bits."""
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def nearest(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of `a` the largest similarity to a row of `b`, and that row's place: (N,) and (N,)."""
    best, where = np.zeros(len(a)), np.zeros(len(a), np.int64)
    for rows in chunks(len(a), _ROWS):
        found = tanimoto(a[rows], b)
        where[rows] = found.argmax(1)
        best[rows] = found.max(1)
    return best, where


def mean_similarities(a: np.ndarray) -> np.ndarray:
    """Of each row the mean similarity to all other rows, (N,). Needs two rows."""
    total = np.zeros(len(a))
    for rows in chunks(len(a), _ROWS):
        total[rows] = tanimoto(a[rows], a).sum(1)
    return (total - 1.0) / (len(a) - 1)
