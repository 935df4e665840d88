"""Which word drew what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from PIL.Image import Image

from morphogen.api.results.shown import Shown
from morphogen.core.data_spec import DataSpec
from morphogen.report.overlays import overlays
from morphogen.report.sheets import sheet, to_bytes


@final
@dataclass(frozen=True, eq=False)
class AttentionMaps(Shown):
    """Pictures of one prompt, and for each of its words a map over each picture.

    Attributes:
        x: (n, C, H, W) as stored, described by `spec`
        words: those that the model read, in order
        maps: (n, words, H, W) float32 in [0, 1]: the share of a pixel's attention that is on the word. The rest, up to
            1, is on the marks of beginning and end, a class or attributes, and the learned key of no word at all
        warnings: what is to be said about the prompt, as of `draw`

    Example:
        >>> found = mg.attention_maps("runs/words", "a small red circle")
        >>> found.save("words.png")
        >>> found.shares  # each word, and its share of all attention
    """

    x: np.ndarray
    spec: DataSpec
    words: tuple[str, ...]
    maps: np.ndarray
    warnings: tuple[str, ...] = ()

    @property
    def shares(self) -> list[tuple[str, float]]:
        """Each word, and its share of all attention."""
        return [(word, float(self.maps[:, i].mean())) for i, word in enumerate(self.words)]

    def image(self) -> Image:
        """A row for each picture: itself, then under each word's name where it was looked at."""
        rows = overlays(to_bytes(self.x, self.spec), self.maps)
        return sheet(rows.reshape(-1, *rows.shape[2:]), columns=rows.shape[1], column_labels=["", *self.words])

    def arrays(self) -> Mapping[str, Any]:
        """x, maps and words."""
        return {"x": self.x, "maps": self.maps, "words": np.array(self.words, dtype=str)}
