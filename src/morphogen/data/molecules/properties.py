"""Properties of molecules that are computed from their structure, by RDKit.

    qed       drug-likeness, 0 to 1 (Bickerton et al., 2012)
    logp      octanol-water partition, log10 (Wildman and Crippen, 1999)
    mol_wt    average mass, g/mol
    tpsa      topological polar surface, square Angstrom (Ertl et al., 2000)
    sa        synthetic accessibility, 1 easy to 10 hard (Ertl and Schuffenhauer, 2009)
    n_heavy, n_rings, n_hbd, n_hba, n_rot      atoms, rings, donors and acceptors of hydrogen bonds, rotatable bonds
    fsp3      share of carbons that are sp3

They are models, too: qed and sa are fits to opinions and catalogs, and logp is a sum of contributions.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from morphogen.core.errors import UsageError, unknown
from morphogen.data.molecules.chemistry import rdkit
from morphogen.data.molecules.standard_form import molecule_of

Property = Callable[[Any], float]


def _descriptor(module: str, name: str) -> Property:
    return lambda molecule: float(getattr(rdkit(f"Chem.{module}"), name)(molecule))


def _sa(molecule: Any) -> float:
    return float(_scorer().calculateScore(molecule))


@lru_cache(maxsize=1)
def _scorer() -> Any:
    """The score's own script, which RDKit ships outside of its package."""
    folder = str(Path(rdkit("RDConfig").RDContribDir) / "SA_Score")
    sys.path.append(folder)
    try:
        import sascorer  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise UsageError(
            "this build of RDKit comes without its SA score: leave out sa, or install RDKit anew."
        ) from None
    finally:
        sys.path.remove(folder)
    return sascorer


PROPERTIES: Mapping[str, Property] = {
    "qed": _descriptor("QED", "qed"),
    "logp": _descriptor("Crippen", "MolLogP"),
    "mol_wt": _descriptor("Descriptors", "MolWt"),
    "tpsa": _descriptor("rdMolDescriptors", "CalcTPSA"),
    "sa": _sa,
    "n_heavy": lambda molecule: float(molecule.GetNumHeavyAtoms()),
    "n_rings": _descriptor("rdMolDescriptors", "CalcNumRings"),
    "n_hbd": _descriptor("rdMolDescriptors", "CalcNumHBD"),
    "n_hba": _descriptor("rdMolDescriptors", "CalcNumHBA"),
    "n_rot": _descriptor("rdMolDescriptors", "CalcNumRotatableBonds"),
    "fsp3": _descriptor("rdMolDescriptors", "CalcFractionCSP3"),
}


def compute(names: Sequence[str], smiles: Sequence[str]) -> np.ndarray:
    """Properties of molecules, (N, P); NaN for a text that is no molecule.

    Raises `UsageError` for a property that is not known.
    """
    for name in names:
        if name not in PROPERTIES:
            raise UsageError(unknown("property", name, PROPERTIES))
    out = np.full((len(smiles), len(names)), np.nan)
    for row, text in enumerate(smiles):
        molecule = molecule_of(text)
        if molecule is not None:
            out[row] = [PROPERTIES[name](molecule) for name in names]
    return out
