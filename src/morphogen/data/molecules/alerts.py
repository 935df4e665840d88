"""Structural alerts: patterns that chemists distrust, and classes that this library does not help to design.

**Alerts** are the catalogs PAINS (Baell and Holloway, 2010: what interferes with assays) and Brenk (Brenk et al., 2008:
what is unstable or toxic). They warn. Approved drugs have alerts, too.

**Refused** classes are known families of chemical-warfare agents and of controlled opioids, by SMARTS of their common
scaffolds. Design leaves such molecules out, and counts them. The list is short and public. It knows scaffolds and not
effects: a harmful molecule of another family passes, a harmless one of these families is left out, and nobody should
take a pass for a statement of safety.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from morphogen.data.molecules.chemistry import rdkit
from morphogen.data.molecules.standard_form import molecule_of

# The schedules of the Chemical Weapons Convention are public; so are the scaffolds of these classes.
REFUSED: Mapping[str, str] = {
    "nerve agent, organophosphorus fluoride": "[PX4;$(P(=[O,S])F)][#6]",
    "nerve agent, phosphoramidocyanidate": "[PX4](=[O,S])(C#N)[OX2,NX3]",
    "nerve agent, phosphonothiolate with an aminoethyl chain": "[PX4](=[O,S])([#6])[SX2][CH2][CH2][NX3,NX4+]",
    "nerve agent, fluorinated phosphoramidate": "[PX4](=[O,S])(F)[NX3,$(N=C)]",
    "sulfur mustard": "[SX2]([CH2][CH2][Cl,Br,I])[CH2]",
    "nitrogen mustard": "[NX3]([CH2][CH2][Cl,Br,I])[CH2][CH2][Cl,Br,I]",
    "lewisite, halovinyl arsine": "[As]([Cl,Br])[CH]=[CH][Cl,Br]",
    "fentanyl, anilidopiperidine": "[#6]C(=O)N(c1ccccc1)C1CCN(CC1)[CH2]",
    "nitazene, benzylbenzimidazole": "c1ccc2c(c1)nc(Cc1ccccc1)n2CCN",
    "morphinan with an ether bridge": "[#7]1~[#6]~[#6]~[#6]23~[#6]4~[#6]1~[#6]~c1cccc(c12)~[#8]~[#6]3~[#6]~[#6]~[#6]4",
}


@lru_cache(maxsize=1)
def _catalogs() -> Mapping[str, Any]:
    module = rdkit("Chem.FilterCatalog")
    kinds, found = module.FilterCatalogParams.FilterCatalogs, {}
    for name, kind in (("PAINS", kinds.PAINS), ("Brenk", kinds.BRENK)):
        parameters = module.FilterCatalogParams()
        parameters.AddCatalog(kind)
        found[name] = module.FilterCatalog(parameters)
    return found


@lru_cache(maxsize=1)
def _refused() -> Mapping[str, Any]:
    return {name: rdkit().MolFromSmarts(smarts) for name, smarts in REFUSED.items()}


def alerts(molecule: Any) -> list[str]:
    """The structural alerts of an RDKit molecule, such as "Brenk: nitro_group"."""
    return [
        f"{name}: {match.GetDescription()}"
        for name, catalog in _catalogs().items()
        for match in catalog.GetMatches(molecule)
    ]


def refusals(molecule: Any) -> list[str]:
    """The refused classes that an RDKit molecule belongs to."""
    return [name for name, pattern in _refused().items() if molecule.HasSubstructMatch(pattern)]


def passes_filters(smiles: Sequence[str]) -> list[bool]:
    """Whether each text is a molecule without any alert."""
    found = (molecule_of(text) for text in smiles)
    return [molecule is not None and not any(c.HasMatch(molecule) for c in _catalogs().values()) for molecule in found]
