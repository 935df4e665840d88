"""Edits of molecules.

neighbor   one edit: an atom is added, removed or replaced, or a bond changes its order
variant    that, or a larger one: a substituent is cut off, or another group takes its place
"""

from __future__ import annotations

from typing import Any

import numpy as np

from morphogen.core.errors import DataError
from morphogen.data.molecules.chemistry import quiet, rdkit
from morphogen.data.molecules.standard_form import molecule_of

_ATOMS = (6, 7, 8, 9, 16, 17)  # C, N, O, F, S, Cl
_GROUPS = ("C", "N", "O", "F", "Cl", "OC", "C#N", "C(F)(F)F", "C(N)=O", "N(C)C", "C1CC1", "S(C)(=O)=O", "CO", "C(C)C")
_TRIES = 30
_KINDS = 4


def neighbor(smiles: str, rng: np.random.Generator) -> str:
    """A random molecule that differs from this one by one edit, as canonical SMILES; the same where none is found.

    Raises `DataError` for a text that is no molecule.
    """
    molecule = molecule_of(smiles)
    if molecule is None:
        raise DataError(f"{smiles!r} is no molecule: only molecules have neighbors.")
    chem = rdkit()
    start = chem.MolToSmiles(molecule)
    with quiet():
        for _ in range(_TRIES):
            edited = chem.RWMol(molecule)
            atoms, kind = edited.GetNumAtoms(), int(rng.integers(_KINDS))
            where = int(rng.integers(atoms))
            atom = edited.GetAtomWithIdx(where)
            if kind == 0:
                edited.AddBond(where, edited.AddAtom(chem.Atom(int(rng.choice(_ATOMS)))), chem.BondType.SINGLE)
            elif kind == 1 and atom.GetDegree() == 1 and atoms > 1:
                edited.RemoveAtom(where)
            elif kind == 2:
                atom.SetAtomicNum(int(rng.choice(_ATOMS)))
                atom.SetFormalCharge(0)
            elif kind == 3 and edited.GetNumBonds():
                bond = edited.GetBondWithIdx(int(rng.integers(edited.GetNumBonds())))
                if bond.GetIsAromatic():
                    continue
                bond.SetBondType(chem.BondType.SINGLE if rng.random() < 0.5 else chem.BondType.DOUBLE)
            else:
                continue
            found = _sound(edited)
            if found is not None and found != start:
                return found
    return start


def variant(smiles: str, rng: np.random.Generator) -> str:
    """A molecule that differs by one edit, or by a substituent, as canonical SMILES; the same where none is found.

    Raises `DataError` for a text that is no molecule.
    """
    if rng.random() < 0.5:
        return neighbor(smiles, rng)
    molecule = molecule_of(smiles)
    if molecule is None:
        raise DataError(f"{smiles!r} is no molecule: only molecules have variants.")
    chem = rdkit()
    cuts = [bond for bond in molecule.GetBonds() if not bond.IsInRing() and bond.GetBondType() == chem.BondType.SINGLE]
    if not cuts:
        return neighbor(smiles, rng)
    start = chem.MolToSmiles(molecule)
    with quiet():
        for _ in range(_TRIES):
            bond = cuts[int(rng.integers(len(cuts)))]
            ends = (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
            edited = chem.RWMol(molecule)
            edited.RemoveBond(*ends)
            pieces = sorted(chem.GetMolFrags(edited), key=len)
            keeps = next(end for end in ends if end in pieces[-1])
            if rng.random() < 0.5:
                group = chem.MolFromSmiles(_GROUPS[int(rng.integers(len(_GROUPS)))])
                first = edited.GetNumAtoms()
                edited.InsertMol(group)
                edited.AddBond(keeps, first, chem.BondType.SINGLE)
            for atom in sorted(pieces[0], reverse=True):
                edited.RemoveAtom(atom)
            found = _sound(edited)
            if found is not None and found != start:
                return found
    return start


def _sound(edited: Any) -> str | None:
    """The canonical SMILES of an edited molecule; None for what is no molecule, or several."""
    chem = rdkit()
    try:
        chem.SanitizeMol(edited)
        found = str(chem.MolToSmiles(edited))
    except (ValueError, RuntimeError):
        return None
    return None if "." in found or molecule_of(found) is None else found
