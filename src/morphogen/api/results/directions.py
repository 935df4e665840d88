"""Directions of latent space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from morphogen.api.results.shown import Brief
from morphogen.core.errors import DataError
from morphogen.data.arrays import read_arrays
from morphogen.data.labels import texts
from morphogen.report.saving import chosen_format, npz, write_whole


@final
@dataclass(frozen=True, eq=False)
class Directions(Brief):
    """Directions in the latent space of one model, by name.

    Attributes:
        vectors: (k, D), each as long as the latents' standard deviation along it: the prior's for those of the model
            itself, that of encoded records for those of properties
        ordered: (k,) share of pairs of held-out records that the direction has in the right order; chance is 1/2; NaN
            for the model's own, which were found from no records
        interval: (k, 2) its 95 % interval
        n: how many held-out records
        model: the hash of the model's weights

    Example:
        >>> found = mg.directions("runs/first", "digits")
        >>> found.names[0]
        >>> found.save("directions.npz")
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    ordered: np.ndarray
    interval: np.ndarray
    n: int
    model: str
    warnings: tuple[str, ...] = ()

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file of them holds."""
        return {
            "names": np.array(self.names, dtype=str),
            "vectors": self.vectors,
            "ordered": self.ordered,
            "interval": self.interval,
            "n": np.array(self.n),
            "model": np.array(self.model),
        }

    def save(self, path: Path | str) -> Path:
        """Write them as .npz, which `edit_latent` reads. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".npz",))
        return write_whole(path, npz(self.arrays()))

    @classmethod
    def read(cls, path: Path | str) -> Directions:
        """From an .npz file of `arrays`. Raises `DataError` for any other."""
        if not Path(path).exists():
            raise DataError(f"{path}: there is no such file.")
        try:
            found = read_arrays(Path(path), "names", "n", "model", "vectors", "ordered", "interval")
            names, n, model = tuple(texts(found["names"], "names")), int(found["n"]), str(found["model"])
            vectors, share, interval = (found[name].astype(np.float64) for name in ("vectors", "ordered", "interval"))
        except (DataError, ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{path} holds no directions: make it with `morphogen directions` ({error}).") from None
        if vectors.ndim != 2 or len(vectors) != len(names) or not np.isfinite(vectors).all():
            raise DataError(f"{path} is damaged: it has {len(names)} names and vectors of shape {vectors.shape}.")
        return cls(names, vectors, share, interval, n, model)

    def _repr_html_(self) -> str:
        from morphogen.report.html import escape
        from morphogen.report.tables import MISSING, number

        cells = "".join(
            f"<tr><td>{escape(name)}</td><td>{number(float(share)) if share == share else MISSING}</td></tr>"
            for name, share in zip(self.names, self.ordered, strict=True)
        )
        return f"<table><tr><th>direction</th><th>pairs in order (chance 0.5)</th></tr>{cells}</table>"
