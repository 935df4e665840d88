"""What molecules of a data set are like: sizes, scaffolds, properties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from morphogen.data.molecules.chemistry import quiet, rdkit
from morphogen.data.molecules.properties import compute
from morphogen.data.molecules.standard_form import molecule_of

LOOKED_AT = 5000  # molecules, evenly spread: scaffolds take a third of a millisecond each
_PROPERTIES = ("qed", "logp", "mol_wt", "tpsa", "sa")
_QUANTILES = (0.05, 0.5, 0.95)


def scaffold(smiles: str) -> str | None:
    """The Bemis-Murcko scaffold, rings and what links them: "" for a molecule without rings, None for no molecule."""
    molecule = molecule_of(smiles)
    if molecule is None:
        return None
    with quiet():
        return str(rdkit("Chem.Scaffolds.MurckoScaffold").MurckoScaffoldSmiles(mol=molecule))


def inspect_molecules(smiles: Sequence[str]) -> Mapping[str, Any]:
    """Scaffolds and quantiles of properties of some of the molecules, evenly spread over all."""
    n = len(smiles)
    some = [smiles[i * n // min(n, LOOKED_AT)] for i in range(min(n, LOOKED_AT))]
    scaffolds = Counter(found for text in some if (found := scaffold(text)) is not None)
    values = compute(_PROPERTIES, some)
    spread = {
        name: dict(
            zip(("low", "median", "high"), np.nanquantile(values[:, i], _QUANTILES).round(4).tolist(), strict=True)
        )
        for i, name in enumerate(_PROPERTIES)
    }
    return {
        "looked_at": len(some),
        "scaffolds": len(scaffolds),
        "most_common_scaffolds": dict(scaffolds.most_common(5)),
        "properties_5_50_95_percent": spread,
    }
