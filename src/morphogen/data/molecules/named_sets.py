"""The named sets of molecules: ChEMBL, and two with measured values."""

from __future__ import annotations

from pathlib import Path

from morphogen.data.molecules.options import MoleculeOptions
from morphogen.data.molecules.reading import columns_of, of_columns
from morphogen.data.raw import Raw

_LICENSES = {
    "chembl.csv.gz": "CC BY-SA 3.0 (ChEMBL, EMBL-EBI)",
    "esol.csv": "MIT (c) 2018 Guillaume Lambard; MoleculeNet (J. S. Delaney 2004)",
    "lipophilicity.csv": "CC BY-SA 3.0 (ChEMBL, EMBL-EBI; MoleculeNet)",
}
_STANDARD = "chembl.csv.gz"  # was written by RDKit in the form that `standard_form` gives


def read_named(file: str, folder: Path, options: MoleculeOptions) -> Raw:
    """One of the files of the folder `molecules`."""
    table = columns_of(folder / file)
    if "split" in table:  # records that are withheld are in no split
        rows = [i for i, split in enumerate(table["split"]) if split in ("train", "valid", "test")]
        table = {name: [values[i] for i in rows] for name, values in table.items()}
    names = [f"row {i}" for i in range(1, 1 + len(table["smiles"]))]
    return of_columns(table, options, file, names, is_standard=file == _STANDARD, license=_LICENSES[file])
