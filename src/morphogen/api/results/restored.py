"""A picture as it may have been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from PIL.Image import Image

from morphogen.api.results.shown import Shown
from morphogen.core.data_spec import DataSpec
from morphogen.report.sheets import picture, sheet, to_bytes


@final
@dataclass(frozen=True, eq=False)
class Restored(Shown):
    """Draws from what a degraded picture may have been, their mean, and how sure that is.

    Attributes:
        samples: (n, C, H, W) in stored units (0 .. 255 for 8-bit pictures), draws from the posterior
        mean: (C, H, W) stored, their mean
        stddev: (C, H, W) float32 in stored units, their standard deviation (unbiased variance)
        uncertainty: (H, W) float32: of each pixel, the root mean square of that over the channels
        spec: what the pictures are

    Example:
        >>> found = mg.restore("runs/photos", "noisy.png", "noise0.2")
        >>> found.save("clean.png")  # the mean
        >>> found.map().save("uncertainty.png")
    """

    samples: np.ndarray
    mean: np.ndarray
    stddev: np.ndarray
    uncertainty: np.ndarray
    spec: DataSpec
    warnings: tuple[str, ...] = ()

    @property
    def white(self) -> float:
        """The standard deviation that is white in `map()`, of 0 to 255."""
        return float(self.uncertainty.max()) * 255.0 / ((self.spec.levels or 256) - 1)

    def image(self) -> Image:
        """The mean."""
        return picture(to_bytes(self.mean[None], self.spec)[0])

    def sample_image(self, i: int = 0) -> Image:
        """Draw `i`, sharper than the mean and no more likely than any other."""
        return picture(to_bytes(self.samples[i : i + 1], self.spec)[0])

    def map(self) -> Image:
        """The uncertainty in gray: black is 0, white the largest standard deviation."""
        shades = np.rint(self.uncertainty * (255.0 / max(float(self.uncertainty.max()), 1e-12)))
        return picture(shades.astype(np.uint8)[None])

    def arrays(self) -> Mapping[str, Any]:
        """samples, mean, stddev and uncertainty."""
        return {name: getattr(self, name) for name in ("samples", "mean", "stddev", "uncertainty")}

    def sheet(self) -> Image:
        """The mean and all draws side by side."""
        return sheet(to_bytes(np.concatenate((self.mean[None], self.samples)), self.spec), scale=1)
