"""Records as a model encodes them, and pictures moved through its latent space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL.Image import Image

from morphogen.api.results.shown import Brief, Shown
from morphogen.core.data_spec import DataSpec
from morphogen.report.saving import chosen_format, npz, write_whole
from morphogen.report.sheets import picture, sheet, to_bytes


@final
@dataclass(frozen=True, eq=False)
class Latents(Brief):
    """Records as a model encodes them.

    Attributes:
        mean: (n, D) the means of q(z | x)
        ids: (n,) the record ids
        labels: (n,) the classes of the records, whose names are `classes`; None where they have none

    Example:
        >>> latents = mg.encode("runs/first", "digits", n=8)
        >>> latents.save("latents.npz")
        >>> len(latents)
        8
    """

    mean: np.ndarray
    ids: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.mean)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.mean, dtype=dtype)

    def save(self, path: Path | str) -> Path:
        """Write mean, ids, labels and class_names as .npz. Returns the path; raises `UsageError` for another suffix."""
        chosen_format(path, (".npz",))
        classes = None if self.labels is None else list(self.classes)
        about = {"mean": self.mean, "ids": self.ids, "labels": self.labels, "class_names": classes}
        return write_whole(path, npz(about))

    def _repr_html_(self) -> str:
        of = "" if self.labels is None else f", {len(self.classes)} classes"
        return f"<p>{len(self):,} records in {self.mean.shape[1]:,} latent dimensions{of}</p>"


@final
@dataclass(frozen=True, eq=False)
class LatentEdits(Shown):
    """What a picture becomes along directions of latent space, and how well the model makes the picture at all.

    Attributes:
        x: (n, C, H, W) in stored units: for each direction in turn, each of the strengths
        rmse: root mean square error of the picture's reconstruction, in shades of 0 .. 255
        baseline: that of the mean of the model's samples; None for a model that draws none

    Example:
        >>> edits = mg.edit_latent("runs/gan", "face.png", "factor-1", [-3, 0, 3])
        >>> edits.save("edits.png")
        >>> len(edits.x)
        3
    """

    x: np.ndarray
    spec: DataSpec
    directions: tuple[str, ...]
    strengths: tuple[float, ...]
    rmse: float
    baseline: float | None
    warnings: tuple[str, ...] = ()

    def image(self) -> Image:
        """The picture, or a strip of several: a row for each direction, a column for each strength."""
        x = to_bytes(self.x, self.spec)
        if len(x) == 1:
            return picture(x[0])
        labels = [f"{s:+g}" if s else "0" for s in self.strengths]
        return sheet(x, columns=len(self.strengths), row_labels=self.directions, column_labels=labels)

    def arrays(self) -> Mapping[str, Any]:
        """x, direction, strength and rmse."""
        of = {"direction": np.array(self.directions, dtype=str), "strength": np.array(self.strengths)}
        return {"x": self.x, **of, "rmse": self.rmse}
