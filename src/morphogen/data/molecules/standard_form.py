"""One form for each molecule, and what was changed to reach it.

    fragments   of a salt or a mixture the largest organic fragment is kept
    charges     are neutralized by protons where the atom allows it; a quaternary nitrogen keeps its charge
    isotopes    labels are removed
    stereo      marks are kept, or removed
    canonical   SMILES as RDKit writes them: one text for each molecule

Aromaticity and valences are RDKit's. What it cannot parse, or what has no atom, is refused with a reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from morphogen.core.errors import DataError
from morphogen.core.printable import one_line
from morphogen.data.molecules.chemistry import quiet, rdkit

LONGEST = 2000  # characters of a SMILES string
_UNUSUAL = re.compile(r"[.+\-@/\\*]|\[\d")  # what standardization may change; "-" is also a bond


@dataclass(frozen=True)
class StandardForm:
    """A molecule as canonical SMILES, and what was changed to reach it beside the order of its atoms."""

    smiles: str
    changes: tuple[str, ...] = ()


def standard_form(smiles: str, *, stereo: bool = True) -> StandardForm:
    """The standard form of a molecule.

    Args:
        smiles: the molecule, in any order of its atoms.
        stereo: keep the marks of stereochemistry.

    Raises:
        DataError: the text is no molecule, in words.
    """
    with quiet():
        molecule, changes = parsed(smiles), list[str]()
        if _UNUSUAL.search(smiles):
            molecule, changes = _standardized(molecule, stereo)
        try:
            return StandardForm(str(rdkit().MolToSmiles(molecule)), tuple(changes))
        except RuntimeError as error:
            raise DataError(f"cannot be written as SMILES ({one_line(str(error))[:100]})") from None


def parsed(smiles: str) -> Any:
    """The RDKit molecule of a SMILES string. Raises `DataError` that says what is wrong."""
    if len(smiles) > LONGEST:
        raise DataError(f"has {len(smiles):,} characters, and at most {LONGEST:,} are read")
    if not smiles.strip():
        raise DataError("is empty")
    chem = rdkit()
    molecule = chem.MolFromSmiles(smiles, sanitize=False)
    if molecule is None:
        raise DataError("is no SMILES: brackets, ring numbers or symbols do not fit together")
    if molecule.GetNumAtoms() == 0:
        raise DataError("has no atoms")
    try:
        chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError) as error:
        raise DataError(f"is no molecule ({one_line(str(error)).strip().rstrip('.')[:120]})") from None
    chem.AssignStereochemistry(molecule, cleanIt=True)
    return molecule


def kekulized(smiles: str) -> str:
    """The molecule of a SMILES string with single and double bonds in the place of aromatic ones."""
    if not any(character.islower() for character in smiles):
        return smiles
    chem = rdkit()
    molecule = parsed(smiles)
    chem.Kekulize(molecule, clearAromaticFlags=True)
    return str(chem.MolToSmiles(molecule))


def molecule_of(smiles: str) -> Any | None:
    """The RDKit molecule of a SMILES string, or None."""
    if not smiles or len(smiles) > LONGEST:
        return None
    with quiet():
        found = rdkit().MolFromSmiles(smiles)
    return None if found is None or found.GetNumAtoms() == 0 else found


def canonical(smiles: str) -> str | None:
    """The canonical SMILES of a text, or None where it is no molecule."""
    molecule = molecule_of(smiles)
    return None if molecule is None else str(rdkit().MolToSmiles(molecule))


def _standardized(molecule: Any, stereo: bool) -> tuple[Any, list[str]]:
    chem, changes = rdkit(), list[str]()
    if len(chem.GetMolFrags(molecule)) > 1:
        whole = chem.MolToSmiles(molecule)
        molecule = _tools()[0].choose(molecule)
        lost = sorted(whole.split("."))
        kept = chem.MolToSmiles(molecule)
        if kept in lost:
            lost.remove(kept)
        changes.append(f"the fragment {kept} is kept of {whole}, without {' and '.join(lost)}")
    if any(atom.GetFormalCharge() for atom in molecule.GetAtoms()):
        before = chem.MolToSmiles(molecule)
        molecule = _tools()[1].uncharge(molecule)
        if chem.MolToSmiles(molecule) != before:
            changes.append("charges are neutralized")
    if any(atom.GetIsotope() for atom in molecule.GetAtoms()):
        for atom in molecule.GetAtoms():
            atom.SetIsotope(0)
        molecule = chem.RemoveHs(molecule)
        changes.append("isotope labels are removed")
    if not stereo:
        before = chem.MolToSmiles(molecule)
        chem.RemoveStereochemistry(molecule)
        if chem.MolToSmiles(molecule) != before:
            changes.append("stereo marks are removed")
    return molecule, changes


@lru_cache(maxsize=1)
def _tools() -> tuple[Any, Any]:
    standardize = rdkit("Chem.MolStandardize.rdMolStandardize")
    return standardize.LargestFragmentChooser(preferOrganic=True), standardize.Uncharger()
