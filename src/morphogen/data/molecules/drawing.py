"""Structures of molecules as one SVG sheet, by RDKit."""

from __future__ import annotations

import re
from collections.abc import Sequence

from morphogen.data.molecules.chemistry import quiet, rdkit
from morphogen.data.molecules.standard_form import molecule_of


def structure_sheet(smiles: Sequence[str], legends: Sequence[str], columns: int = 5, side: int = 220) -> str:
    """An <svg> element with the structures in rows; texts that are no molecule are left out."""
    pairs = [(m, legend) for text, legend in zip(smiles, legends, strict=True) if (m := molecule_of(text)) is not None]
    if not pairs:
        return '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
    rows = -(-len(pairs) // columns)
    draw = rdkit("Chem.Draw.rdMolDraw2D")
    with quiet():
        sheet = draw.MolDraw2DSVG(columns * side, rows * side, side, side)
        sheet.DrawMolecules([m for m, _ in pairs], legends=[legend for _, legend in pairs])
        sheet.FinishDrawing()
    return re.sub(r"<\?xml.*?\?>", "", str(sheet.GetDrawingText()), count=1, flags=re.DOTALL).strip()
